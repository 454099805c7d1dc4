"""Synthetic DICOM objects: made by pydicom, which the product's own reader does not use."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


def _object(transfer_syntax: str = EXPLICIT_LITTLE, pixels: bytes = bytes(64), **elements) -> bytes:
    ds = Dataset()
    ds.SOPClassUID = CT
    ds.SOPInstanceUID = "2.25.300"
    ds.StudyInstanceUID = "2.25.100"
    ds.SeriesInstanceUID = "2.25.200"
    ds.Modality = "CT"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if pixels:
        ds.Rows = ds.Columns = 8
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit = 7
        ds.PixelRepresentation = 0
        ds.SamplesPerPixel = 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.PixelData = pixels
        ds["PixelData"].VR = "OW"
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.fixture
def dicom_object():
    """Return a function that makes the bytes of a Part 10 file."""
    return _object


@pytest.fixture
def item():
    """Return a function that makes a sequence item."""

    def make(**elements) -> Dataset:
        ds = Dataset()
        for keyword, value in elements.items():
            setattr(ds, keyword, value)
        return ds

    return make
