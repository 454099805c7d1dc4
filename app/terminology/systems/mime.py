"""MIME types, `urn:ietf:bcp:13`: BCP 13 (RFC 6838 section 4.2) and parameters of RFC 2045.

`type/subtype`, both restricted names of at most 127 characters, then `; name=value` any number of
times, a value being a token or a quoted string. Type, subtype and parameter names are compared
without case: `Text/HTML` is the code `text/html`. Which subtypes are registered is not checked:
FHIR allows what RFC 6838 allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.terminology.systems.grammar import Grammar, header
from app.terminology.types import Concept, Designation, Property

URL = "urn:ietf:bcp:13"

_TOP_LEVEL = frozenset(
    "application audio font haptics image message model multipart text video".split()  # noqa: SIM905
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}"
_PARAMETER = rf'[ \t]{{0,8}};[ \t]{{0,8}}({_WORD})=({_WORD}|"(?:[^"\\\x00-\x1f]|\\.){{0,256}}")'
_TYPE = re.compile(rf"({_NAME})/({_NAME})((?:{_PARAMETER})*)")
_MAX_CODE = 1024

# What is met in health care, named by what it holds.
_COMMON = """\
application/fhir+json|FHIR resource, JSON|FHIR 资源（JSON）
application/fhir+xml|FHIR resource, XML|FHIR 资源（XML）
application/fhir+ndjson|FHIR resources, one a line|FHIR 资源（每行一个）
application/json|JSON|JSON 数据
application/json-patch+json|JSON Patch|JSON 补丁
application/xml|XML|XML 数据
application/dicom|DICOM object|DICOM 对象
application/dicom+json|DICOM attributes, JSON|DICOM 属性（JSON）
application/hl7-v2+er7|HL7 version 2 message|HL7 v2 消息
application/hl7-sda+xml|SDA clinical record|SDA 临床记录
application/pdf|PDF document|PDF 文档
application/msword|Word document|Word 文档
application/vnd.openxmlformats-officedocument.wordprocessingml.document|Word document|Word 文档
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet|Excel workbook|Excel 工作簿
application/rtf|Rich text|富文本
application/zip|ZIP archive|ZIP 压缩包
application/gzip|gzip data|gzip 压缩数据
application/octet-stream|Bytes of any kind|任意字节
application/jose|Signed or encrypted object (JOSE)|签名或加密对象（JOSE）
application/jwt|JSON Web Token|JSON 网络令牌
text/plain|Plain text|纯文本
text/html|HTML page|HTML 网页
text/markdown|Markdown text|Markdown 文本
text/csv|Comma-separated values|逗号分隔值
text/cql|Clinical Quality Language|临床质量语言
text/fhirpath|FHIRPath expression|FHIRPath 表达式
text/rtf|Rich text|富文本
text/xml|XML|XML 数据
image/jpeg|JPEG image|JPEG 图像
image/png|PNG image|PNG 图像
image/gif|GIF image|GIF 图像
image/tiff|TIFF image|TIFF 图像
image/svg+xml|SVG drawing|SVG 图形
image/jp2|JPEG 2000 image|JPEG 2000 图像
image/jls|JPEG-LS image|JPEG-LS 图像
image/webp|WebP image|WebP 图像
audio/mpeg|MPEG audio|MPEG 音频
audio/basic|Audio, 8 kHz mu-law|8 kHz μ 律音频
audio/ogg|Ogg audio|Ogg 音频
audio/mp4|MP4 audio|MP4 音频
video/mpeg|MPEG video|MPEG 视频
video/mp4|MP4 video|MP4 视频
video/quicktime|QuickTime video|QuickTime 视频
multipart/related|Several related parts|多个相关部分
multipart/form-data|Form data|表单数据
message/http|HTTP message|HTTP 消息
"""


class MimeTypes(Grammar):
    """The system of MIME types."""

    common = "https://yilian.example/fhir/ValueSet/common-mime-types"

    def __init__(self) -> None:
        self.header = header(
            URL, "MimeTypes", "MIME types (BCP 13)", caseSensitive=False, language="en"
        )
        rows = (line.split("|") for line in _COMMON.splitlines())
        self._names = {code: (display, chinese) for code, display, chinese in rows}

    def find(self, code: str) -> Concept | None:
        """Return the concept of a MIME type; its code with type and names in lower case."""
        found = _TYPE.fullmatch(code) if len(code) <= _MAX_CODE else None
        if found is None or not _top_level(found[1].lower()):
            return None
        plain = f"{found[1]}/{found[2]}".lower()
        english, chinese = self._names.get(plain, ("", ""))
        names = (Designation(english, "en"), Designation(chinese, "zh-CN")) if english else ()
        return Concept(
            code=plain + found[3],  # parameters as they are written: the values' case may count
            display=plain + found[3],
            designations=names,
            properties=(Property("type", "code", plain),),
        )

    def listed(self) -> Sequence[str]:
        """Return what is met in health care."""
        return list(self._names)

    def problem(self, code: str) -> str | None:
        """Return what a text lacks to be a MIME type."""
        if self.find(code) is not None:
            return None
        kind, slash, rest = code.partition("/")
        if not slash:
            return "A MIME type is a type, '/' and a subtype"
        if re.fullmatch(_NAME, kind) and not _top_level(kind.lower()):
            return "The type before '/' is none that is registered"
        if not re.fullmatch(_NAME, rest.partition(";")[0].strip()):
            return "The subtype after '/' has characters that RFC 6838 does not allow"
        return "The parameters after ';' are not of the form name=value"


def _top_level(kind: str) -> bool:
    return kind in _TOP_LEVEL or kind.startswith("x-")
