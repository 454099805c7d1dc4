"""What is to be said of the resources that were used: draft, experimental, deprecated, withdrawn.

Standards status (extension) or `status` and `experimental` of a code system or value set. A draft
that uses a draft is nothing to remark.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.terminology.names import STANDARDS_STATUS
from app.terminology.types import Json


def remark(resource: Json, by: Json) -> str | None:
    """Return deprecated, withdrawn, experimental or draft when using `resource` is remarkable.

    by: the value set that uses it.
    """
    status = _standards_status(resource)
    if status in ("deprecated", "withdrawn"):
        return status
    if resource.get("experimental") is True and by.get("experimental") is not True:
        return "experimental"
    if _is_draft(resource) and not _is_draft(by):
        return "draft"
    return None


def _is_draft(resource: Json) -> bool:
    return resource.get("status") == "draft" or _standards_status(resource) == "draft"


def _standards_status(resource: Json) -> str | None:
    return next(_statuses(resource), None)


def _statuses(resource: Json) -> Iterator[str]:
    for extension in resource.get("extension", ()):
        value = extension.get("valueCode")
        if extension.get("url") == STANDARDS_STATUS and isinstance(value, str):
            yield value
