"""Frames and products at URLs: a real S3 server process, and servers that fail."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from astropy.io import fits

from campaigns import REGIONS, Campaign, RawCampaign, params, quirky_campaign
from emdarks.accumulate import Checkpoint, Sample, StackJob, Threads, prefetch, threads
from emdarks.darks import calibrate_darks_lsq, mean_combine
from emdarks.data import Dataset, DetectorNoiseMaps
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import remote, scan_file
from emdarks.fits.pixels import FileSource
from emdarks.frames import select_frames
from test_same_bits import assert_same_product

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
pytest.importorskip("moto")

SECRET = "wJalrXUtnFEMI"


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an S3 server in a process of its own."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield address
    process.kill()
    process.wait()


def configure(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Tell fsspec of the server, as its own configuration would."""
    options = {
        "endpoint_url": address,
        "key": "AKIAEXAMPLE",
        "secret": SECRET,
        "config_kwargs": {
            "connect_timeout": 1,
            "read_timeout": 1,
            "retries": {"total_max_attempts": 1},
        },
        "skip_instance_cache": True,
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", options)
    remote._made.cache_clear()
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    import s3fs.core

    monkeypatch.setattr(s3fs.core.S3FileSystem, "retries", 1)


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    configure(monkeypatch, server)
    system = fsspec.filesystem("s3")
    system.mkdir("darks")
    yield system
    system.rm("darks", recursive=True)
    remote._made.cache_clear()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return quirky_campaign(tmp_path_factory.mktemp("frames"))


def upload(system: Any, paths: list[str], prefix: str = "darks/night") -> list[str]:
    urls = []
    for path in paths:
        system.put_file(path, f"{prefix}/{Path(path).name}")
        urls.append(f"s3://{prefix}/{Path(path).name}")
    return urls


def maps(dataset: Any, executor: Any = None) -> Any:
    return calibrate_darks_lsq(dataset, params(), True, REGIONS, executor=executor)


@pytest.mark.parametrize("count", [1, 2])
def test_frames_in_a_bucket_give_the_same_bits(bucket: Any, campaign: Campaign, count: int) -> None:
    urls = upload(bucket, campaign.paths)
    found = maps(Dataset(urls), Threads(count))
    assert_same_product(found, maps(campaign.files()))
    inputs, local = found.hdu_list["INPUTS"].data, maps(campaign.files()).hdu_list["INPUTS"].data
    assert list(inputs["SIZE"]) == list(local["SIZE"])
    assert all(str(when).startswith("20") for when in inputs["MTIME"])


def test_raw_frames_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    raw = RawCampaign.small(tmp_path)
    urls = upload(bucket, raw.paths)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        found = calibrate_darks_lsq(raw.prepared(Dataset(urls)), None)
        wanted = calibrate_darks_lsq(raw.files(), None)
    assert_same_product(found, wanted)


def test_what_a_user_may_name(bucket: Any, campaign: Campaign, tmp_path: Path) -> None:
    urls = upload(bucket, campaign.paths)
    maps(campaign.files()).save(str(tmp_path), "maps.fits")
    bucket.put_file(str(tmp_path / "maps.fits"), "darks/night/maps.fits")
    bucket.pipe_file("darks/night/notes.txt", b"no frame")
    names = sorted(Path(path).name for path in campaign.paths)
    listed = tmp_path / "list.txt"
    listed.write_text("# frames\n" + "\n".join(urls) + "\n")
    for argument in ("s3://darks/night/cgi_*.fits", "s3://darks/night/", "s3://darks/night"):
        assert [frame.filename for frame in select_frames([argument])] == names
    found = select_frames([f"@{listed}", urls[0]])
    assert [frame.filename for frame in found] == [Path(path).name for path in campaign.paths]
    assert found[0].filedir == "s3://darks/night"
    for argument in ("s3://darks/other/*.fits", "s3://darks/none.fits", "s3://darks/other/"):
        with pytest.raises(InputError, match=argument.replace("*", r"\*")):
            select_frames([argument])


def test_scanning_reads_headers_only(
    bucket: Any, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first file of a layout, one request for the headers of a small one."""
    upload(bucket, campaign.paths)
    requests: list[int] = []
    original = remote.read_ranges

    def counted(file: Any, ranges: Any, check: bool = True) -> Any:
        requests.append(len(ranges))
        return original(file, ranges, check)

    from emdarks.fits import scan

    monkeypatch.setattr(scan, "read_ranges", counted)
    frames = select_frames(["s3://darks/night/*.fits"])
    assert len(requests) == len(frames) == len(campaign.paths)
    expected = select_frames(campaign.paths)
    headers = {f.filename: f.ext_hdr.tostring() for f in expected}
    assert all(f.ext_hdr.tostring() == headers[f.filename] for f in frames)


KINDS = ["gzip", "tiles", "scaled", "cube", "doubles"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_every_kind(bucket: Any, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(3)
    paths = []
    for i in range(3):
        data = rng.integers(0, 1000, (5, 23, 37) if kind == "cube" else (23, 37)).astype("i2")
        image = fits.ImageHDU(data.astype("f8") if kind == "doubles" else data)
        if kind == "scaled":
            image.header["BSCALE"], image.header["BZERO"] = 0.5, 3.0
        if kind == "tiles":
            image = fits.CompImageHDU(data, compression_type="RICE_1")
        dq = fits.ImageHDU((data % 7 == 0).astype("u2"), name="DQ")
        path = tmp_path / f"frame{i}.fits{'.gz' if kind == 'gzip' else ''}"
        fits.HDUList([fits.PrimaryHDU(), image, dq]).writeto(path)
        paths.append(str(path))
    urls = upload(bucket, paths)
    expected, found = Dataset(paths), Dataset(urls)
    for executor in (Threads(1), Threads(2)):
        for one, other in zip(
            mean_combine(found, None, executor=executor), mean_combine(expected, None), strict=True
        ):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    for one, other in zip(found, expected, strict=True):
        for plane in ("data", "err", "dq"):
            assert getattr(one, plane).tobytes() == getattr(other, plane).tobytes()


def test_products_go_there_and_come_back(bucket: Any, campaign: Campaign) -> None:
    made = maps(campaign.files())
    made.save("s3://darks/products", "maps.fits")
    assert made.filepath == "s3://darks/products/maps.fits"
    back = DetectorNoiseMaps("s3://darks/products/maps.fits")
    np.testing.assert_array_equal(back.data, made.data.astype(np.float32).astype(np.float64))
    assert back.hdu_names == made.hdu_names
    assert [info for info in bucket.ls("darks/products") if "part" in info] == []


def test_from_the_command_line(
    bucket: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames, maps and darks in the bucket; credentials from the environment, and unseen."""
    from emdarks.data import sample

    urls = upload(bucket, [str(path) for path in sample()])
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }

    def run(*arguments: str) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "emdarks", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )

    kept = tmp_path / "kept"
    pattern = "s3://darks/night/*"
    options = ("--dask", "local", "--threads", "2", "--checkpoint", str(kept))
    made = run("noisemaps", pattern, "-o", "s3://darks/maps.fits", *options)
    assert made.returncode == 0, made.stderr
    local = tmp_path / "maps.fits"
    assert run("noisemaps", *map(str, sample()), "-o", str(local)).returncode == 0
    with fsspec.open("s3://darks/maps.fits") as file, fits.open(file) as remote_maps:
        for plane in (1, "ERR", "DQ", "SIGNED", "CORR"):
            assert remote_maps[plane].data.tobytes() == fits.getdata(local, plane).tobytes()
    texts = [made.stdout, made.stderr, bucket.cat_file("darks/maps.fits").decode("latin1")]
    texts += [path.read_bytes().decode("latin1") for path in kept.iterdir()]
    assert not any(SECRET in text or "AKIAEXAMPLE" in text for text in texts)

    again = run("noisemaps", pattern, "-o", "s3://darks/maps.fits")
    assert again.returncode == 1
    assert "s3://darks/maps.fits: exists; choose another name or give --overwrite" in again.stderr
    dark = run(
        "synthesize", "s3://darks/maps.fits", "-o", "s3://darks/made/", "--like", urls[0],
        "--full-frame", "--camera", "excam-sample",
    )  # fmt: skip
    assert dark.returncode == 0, dark.stderr
    assert len(bucket.ls("darks/made")) == 1


def test_a_checkpoint_of_remote_frames(bucket: Any, campaign: Campaign, tmp_path: Path) -> None:
    urls = upload(bucket, campaign.paths)
    expected = maps(campaign.files())
    read: list[str] = []
    original = FileSource.open

    def open_(self: FileSource) -> Any:
        read.append(self.layout.path)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileSource, "open", open_)
        for count in (len(urls), 0):
            read.clear()
            found = maps(Dataset(urls), Checkpoint(None, tmp_path / "kept"))
            assert_same_product(found, expected)
            assert len(read) == count
        time.sleep(1.1)  # S3 knows whole seconds
        bucket.pipe_file(urls[2].removeprefix("s3://"), Path(campaign.paths[2]).read_bytes())
        read.clear()
        maps(Dataset(urls), Checkpoint(None, tmp_path / "kept"))
        assert urls[2] in read


def test_an_object_that_changed_is_refused(bucket: Any, campaign: Campaign) -> None:
    urls = upload(bucket, campaign.paths[:4])
    dataset = Dataset(urls)
    bucket.pipe_file(urls[1].removeprefix("s3://"), Path(campaign.paths[5]).read_bytes())
    with pytest.raises(InputError, match=urls[1] + ": changed after its header was read"):
        mean_combine(dataset, None)
    bucket.rm_file(urls[1].removeprefix("s3://"))
    with pytest.raises(InputError, match=urls[1] + ": no such file"):
        mean_combine(dataset, None)


def test_reading_ahead_is_bounded(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches are open at most, and the second while the first is added."""
    system = fsspec.filesystem("memory")
    for path in campaign.paths:
        system.put_file(path, f"/bounded/{Path(path).name}")
    urls = [f"memory://bounded/{Path(path).name}" for path in campaign.paths]
    frame = 23 * 37 * 10
    monkeypatch.setattr(threads, "BATCH_BYTES", 3 * frame)
    lock, now, most = threading.Lock(), [0], [0]
    original = FileSource.open

    def open_(self: FileSource) -> Any:
        reader = original(self)
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        close = reader.close

        def closed() -> None:
            with lock:
                now[0] -= 1
            close()

        reader.close = closed
        return reader

    monkeypatch.setattr(FileSource, "open", open_)
    sources = [FileSource(scan_file(url)) for url in urls]
    job = StackJob(tuple(Sample(s) for s in sources), sources[0].shape, 255)
    assert all(source.held_bytes == frame for source in sources)
    found = Threads(1).sums(job)
    local = [FileSource(scan_file(path)) for path in campaign.paths]
    monkeypatch.setattr(FileSource, "open", original)
    expected = Threads(1).sums(StackJob(tuple(map(Sample, local)), job.shape, 255))
    assert found.moments.equal(expected.moments)
    assert found.bytes_read == expected.bytes_read == frame * len(urls)
    assert now == [0]
    assert 3 < most[0] <= 6


def test_a_failure_ahead_closes_what_is_open(tmp_path: Path) -> None:
    campaign = quirky_campaign(tmp_path)
    gzipped = []
    for path in campaign.paths[:6]:
        target = path + ".gz"
        with fits.open(path) as hdus:
            hdus.writeto(target)
        gzipped.append(target)
    mixed = [*campaign.paths[6:8], *gzipped]
    sources = [FileSource(scan_file(path)) for path in mixed]
    Path(mixed[-1]).unlink()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(InputError, match=Path(mixed[-1]).name):
        Threads(2, batch_files=4).sums(StackJob(tuple(map(Sample, sources)), (23, 37), 255))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert prefetch.FETCHES > 1


# Servers that fail


class Faulty(BaseHTTPRequestHandler):
    """Passes requests on, after some that it answers with 503."""

    protocol_version = "HTTP/1.1"
    behind = ""
    failures: ClassVar[dict[str, int]] = {}
    seen: ClassVar[list[tuple[str, str]]] = []

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        type(self).seen.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0) or 0))
        if self.failures.get(path, 0) > 0 and self.command in ("GET", "PUT"):
            self.failures[path] -= 1
            self._send(503, {}, b"")
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        request = urllib.request.Request(
            self.behind + self.path, body or None, headers, method=self.command
        )
        try:
            with urllib.request.urlopen(request) as answer:
                self._send(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            self._send(error.code, dict(error.headers), error.read())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("content-length", "connection", "server", "date"):
                self.send_header(key, value)
        length = headers.get("Content-Length", len(body)) if self.command == "HEAD" else len(body)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def proxy(behind: str, failures: dict[str, int]) -> Iterator[str]:
    Faulty.behind, Faulty.failures, Faulty.seen = behind, failures, []
    front = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    thread = threading.Thread(target=front.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{front.server_port}"
    finally:
        front.shutdown()
        front.server_close()
        thread.join()


def test_503_twice_and_then_not(
    bucket: Any, server: str, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = upload(bucket, campaign.paths)
    expected = maps(campaign.files())
    first, later = (url.removeprefix("s3:/") for url in (urls[0], urls[7]))
    failures = {first: 2, later: 2, "/darks/maps.fits": 2}
    with proxy(server, failures) as front:
        configure(monkeypatch, front)
        found = maps(Dataset(urls))
        found.save("s3://darks", "maps.fits")
        assert set(failures.values()) == {0}
        configure(monkeypatch, server)
    assert Faulty.seen.count(("PUT", "/darks/maps.fits")) == 3
    found.filename = expected.filename
    found.pri_hdr["FILENAME"] = expected.filename
    assert_same_product(found, expected)


def test_503_for_ever(
    bucket: Any, server: str, campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = upload(bucket, campaign.paths[:3])
    with proxy(server, {urls[1].removeprefix("s3:/"): 1000}) as front:
        configure(monkeypatch, front)
        with pytest.raises(InputError, match=rf"{urls[1]}: cannot be read after 4 tries \("):
            mean_combine(Dataset(urls), None)
        configure(monkeypatch, server)
    got = [path for verb, path in Faulty.seen if verb == "GET"]
    assert got.count(urls[1].removeprefix("s3:/")) == 4


def test_a_server_that_refuses(campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, f"http://127.0.0.1:{free_port()}")
    start = time.monotonic()
    with pytest.raises(InputError, match=r"^s3://darks/a.fits: cannot be read after 4 tries \("):
        Dataset(["s3://darks/a.fits"])
    with pytest.raises(InputError, match=r"^s3://darks/\*.fits: cannot be listed after 4 tries \("):
        select_frames(["s3://darks/*.fits"])
    made = maps(campaign.files())
    with pytest.raises(InputError, match=r"^s3://darks/x.fits: cannot be written after 4 tries \("):
        made.save("s3://darks", "x.fits")
    assert time.monotonic() - start < 30


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(64)
        configure(monkeypatch, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(InputError, match=r"^s3://darks/a.fits: cannot be read after 4 tries"):
            Dataset(["s3://darks/a.fits"])
        assert time.monotonic() - start < 30


def test_a_web_server(tmp_path: Path, campaign: Campaign) -> None:
    """One that gives files whole, whatever is asked for."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=Path(campaign.paths[0]).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    port = process.stdout.readline().split("port ")[1].split()[0]
    try:
        urls = [f"http://127.0.0.1:{port}/{Path(path).name}" for path in campaign.paths[:3]]
        found = mean_combine(Dataset(urls), None)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    expected = mean_combine(Dataset(campaign.paths[:3]), None)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_secrets_in_urls_are_not_shown() -> None:
    file = remote.RemoteFile("https://me:pass@host/a.fits?X-Signature=abc", 1, 2, "e")
    assert file.name == "https://host/a.fits"
    error = OSError("GET https://me:pass@host/a.fits?X-Signature=abc failed")
    assert remote._reason(error, file.url) == "GET https://host/a.fits failed"
    assert pickle.loads(pickle.dumps(file)) == file


def test_file_urls_are_files(campaign: Campaign, tmp_path: Path) -> None:
    urls = [f"file://{path}" for path in campaign.paths]
    found = maps(Dataset(urls))
    assert_same_product(found, maps(campaign.files()))
    found.save(f"file://{tmp_path}", "maps.fits")
    assert (tmp_path / "maps.fits").exists()
    assert len(select_frames([f"file://{Path(campaign.paths[0]).parent}"])) == len(urls)


def test_unknown_protocols_and_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nonsense://a: cannot be read"):
        Dataset(["nonsense://a/b.fits"])
    remote._made.cache_clear()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match=r"s3://a: needs fsspec; pip install 'emdarks\[cloud\]'"):
        Dataset(["s3://a/b.fits"])
    remote._made.cache_clear()
