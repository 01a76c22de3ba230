"""The command that asks whether errors can be believed."""

from __future__ import annotations

from emdarks.cli import console
from emdarks.cli.options import (
    AsJson,
    CameraName,
    CheckpointFolder,
    DaskAddress,
    Exclude,
    Frames,
    KGain,
    MapsModel,
    MaskBits,
    ModelName,
    Params,
    SkipBad,
    SkipKinds,
    SkipShare,
    ThreadCount,
    Where,
    conditions,
    detector_params,
    kinds,
)

__all__ = ["check"]


def check(
    frames: Frames,
    model: ModelName = MapsModel.full,
    where: Where = None,
    exclude: Exclude = None,
    camera: CameraName = None,
    params: Params = None,
    kgain: KGain = None,
    mask_bits: MaskBits = None,
    skip_bad_frames: SkipBad = False,
    skip: SkipKinds = None,
    skip_share: SkipShare = 0.1,
    threads: ThreadCount = None,
    dask: DaskAddress = None,
    checkpoint: CheckpointFolder = None,
    as_json: AsJson = False,
) -> None:
    """Can the errors be believed? Odd against even frames, drift, disagreeing stacks.

    Example: emdarks check darks/
    """
    wanted, reasons = conditions(where), kinds(skip)
    with console.spoken():
        from emdarks.cli.tables import check_table
        from emdarks.frames import select_frames
        from emdarks.half_split import check_darks

        dataset = select_frames(
            frames, camera, wanted, exclude=exclude or (), skip_bad_frames=skip_bad_frames
        )
        with console.streaming(
            "reading", len(dataset), threads, "fitting", dask, checkpoint
        ) as executor:
            report = check_darks(
                dataset,
                detector_params(params),
                model=model.value,
                camera=camera,
                kgain=kgain,
                mask_bits=mask_bits,
                skip_bad_frames=skip_bad_frames,
                skip=reasons,
                skip_share=skip_share,
                executor=executor,
            )
        if as_json:
            console.json_out(report.as_dict() | console.left_out(dataset))
            return
        console.show(check_table(report))
        pulls = ", ".join(f"{name} {std:.3f}" for name, std in report.pull_std.items())
        right = "1 is right, below 1 with so few frames" if report.few_frames else "1 is right"
        console.say(f"odd against even frames, scatter over error ({right}): {pulls}")
        for text in report.words:
            console.finding("fine" if report.believable else "problem", text)
