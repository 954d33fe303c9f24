"""The one place where the defaults of prediction live."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16")
GRIDS = ("1mm", "input")
LESIONS = ("inpaint", "keep")
COMPAT = ("auto", "none", "freesurfer", "github")


def default_model(*, ct: bool) -> str:
    """Name of the model that is taken where none is asked for: a CT has its own.

    Parameters
    ----------
    ct : bool
    """
    return "ct" if ct else "default"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to predict.

    Parameters
    ----------
    model : str, optional
        Name of a shipped model, or a ``.safetensors`` file; see `default_model`.
    exams : bool
        Each folder that holds scans is one exam, of which one T1 is made.
    ct : bool
        The scan is CT, in Hounsfield units.
    device : str
        ``auto`` takes a GPU where there is one.
    threads : int, optional
        Of the processor; PyTorch chooses if not given.
    precision : str
        ``auto`` takes bf16 where the hardware computes in it, else fp32.
    flip : bool
        Average with the prediction of the mirrored scan: a little better. Most networks take twice the time
        for it; of a `cascade`, as the default is, the coarse part alone runs twice.
    compat : str
        Pre- and post-processing of the original SynthSR, step for step, for its converted weights: that of FreeSurfer 8
        or of its GitHub repository. ``auto`` takes what the model says; ``none`` takes ours whatever it says.
    sharpen : bool
        Sharpen where FreeSurfer does; without `compat` it means nothing.
    lesions : str
        ``inpaint`` heals lesions, ``keep`` shows them as a T1 would, where a mask says that they are or where they are
        found.
    lesion_mask : str, optional
        File that is above 0.5 in lesions; drawn on the scan, or on the first one of an exam.
    write_lesion_mask : str, optional
        File for the mask that was given or found, or folder for those of several scans.
    finder : str
        The network that finds lesions: name of a shipped model, or a ``.safetensors`` file.
    uncertainty : str, optional
        File for a map of how wrong each voxel may be.
    segmentation : str, optional
        File for the labels of the T1, or folder for those of several.
    volumes : str, optional
        Table of the volumes of all scans, one row each.
    segmenter : str
        The segmentation network: name of a shipped model, or a ``.safetensors`` file.
    grid : str
        Where the result lies: ``1mm``, or resampled onto the grid of the ``input``.
    max_memory : float, optional
        GB that the process may take; it then runs in thinner slabs or in bf16, or refuses before it starts.
    overwrite : bool
        Replace outputs that are there already.
    strict : bool
        Refuse a scan whose geometry or intensities are only probably right (warnings W4xx and W5xx).

    Raises
    ------
    UsageError
        If a value is none of these.
    """

    model: str | None = None
    exams: bool = False
    ct: bool = False
    device: str = "auto"
    threads: int | None = None
    precision: str = "auto"
    flip: bool = True
    compat: str = "auto"
    sharpen: bool = True
    lesions: str = "inpaint"
    lesion_mask: str | None = None
    write_lesion_mask: str | None = None
    finder: str = "lesions"
    uncertainty: str | None = None
    segmentation: str | None = None
    volumes: str | None = None
    segmenter: str = "segmenter"
    grid: str = "1mm"
    max_memory: float | None = None
    overwrite: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        known = (("device", DEVICES), ("precision", PRECISIONS), ("compat", COMPAT), ("lesions", LESIONS))
        for name, choices in (*known, ("grid", GRIDS)):
            if (value := getattr(self, name)) not in choices:
                raise UsageError(f"--{name} is {value!r}; choose from {', '.join(choices)}.")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads is {self.threads}; give 1 or more.")
        if self.max_memory is not None and not self.max_memory > 0:
            raise UsageError(f"--max-memory is {self.max_memory}; give GB, more than 0.")
        if self.segmenter != Options.segmenter and not self.measured:
            raise UsageError("--segmenter is for --segmentation and --volumes; add one of them.")
        if self.finder != Options.finder and not self.searched:
            raise UsageError("--finder is for --lesions keep without a mask; say so, or leave it out.")
        if self.write_lesion_mask is not None and not self.searched and self.lesion_mask is None:
            raise UsageError("--write-lesion-mask writes the mask that is used; add --lesions keep or --lesion-mask.")

    @property
    def chosen(self) -> str:
        """The model that makes the T1."""
        return default_model(ct=self.ct) if self.model is None else self.model

    @property
    def measured(self) -> bool:
        """Whether the T1 is to be segmented."""
        return self.segmentation is not None or self.volumes is not None

    @property
    def searched(self) -> bool:
        """Whether lesions are to be found."""
        return self.lesions == "keep" and self.lesion_mask is None


OPTIONS = Options()
