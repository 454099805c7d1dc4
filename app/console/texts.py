"""The words of the console in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = {"en": "English", "zh": "中文"}
TAGS = {"en": "en", "zh": "zh-CN"}

_TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("Yilian", "医联 Yilian"),
    "tagline": (
        "the hub for HL7 v2, DICOM, devices and barcodes, with one FHIR R4 server",
        "HL7 v2、DICOM、设备数据与条码的互联中枢，一个 FHIR R4 服务器",
    ),
    "start": ("Start", "首页"),
    "running": ("Running", "正在运行"),
    "service": ("Service", "服务"),
    "address": ("Address", "地址"),
    "fhir": ("FHIR R4 server", "FHIR R4 服务器"),
    "mllp": ("HL7 v2 (MLLP)", "HL7 v2（MLLP）"),
    "dicom": ("DICOM (AE title YILIAN)", "DICOM（AE 名称 YILIAN）"),
    "iot": ("Devices over HTTP", "设备数据（HTTP）"),
    "mqtt": ("Devices over MQTT", "设备数据（MQTT）"),
    "id": ("Identifiers", "标识解析"),
    "capabilities": ("what it can do", "能力声明"),
    "metrics": ("metrics", "运行指标"),
    "resources": ("Resources", "资源"),
    "type": ("Type", "类型"),
    "count": ("Count", "数量"),
    "no_resources": ("Nothing is stored yet.", "尚无数据。"),
    "messages": ("Messages by feed", "各接口消息"),
    "newest": ("of the newest {most} messages", "最近 {most} 条消息"),
    "feed": ("Feed", "接口"),
    "last": ("Last messages", "最近消息"),
    "all_messages": ("all messages", "全部消息"),
    "no_messages": ("Nothing was received yet.", "尚未收到消息。"),
    "inbox": ("Inbox", "收件箱"),
    "message": ("Message", "消息"),
    "received": ("Received", "接收时间"),
    "state": ("State", "状态"),
    "kind": ("Kind", "类别"),
    "source": ("Sender", "发送方"),
    "peer": ("From", "来自"),
    "control_id": ("Control id", "消息号"),
    "repeats": ("Repeats", "重复于"),
    "problems": ("Problems", "问题"),
    "answer_link": ("ACK", "应答"),
    "answers": ("Answers (ACK)", "应答（ACK）"),
    "written": ("Resources written", "写入的资源"),
    "nothing_written": ("none", "无"),
    "raw": ("As received", "原始内容"),
    "raw_link": ("raw", "原文"),
    "raw_bytes": ("{size} bytes, not shown as text", "{size} 字节，不以文本显示"),
    "raw_gone": ("The bytes are no longer kept.", "原始内容已不再保留。"),
    "raw_local": (
        "There is no sign-in yet: message contents are shown only in a browser on the machine the"
        " hub runs on.",
        "尚未启用登录：消息内容仅在运行本系统的机器上的浏览器中显示。",
    ),
    "older": ("older", "更早"),
    "newest_link": ("newest", "最新"),
    "look_up": ("Look up a code", "查询标识"),
    "look_up_hint": ("barcode, UDI, number, OID ...", "条码、UDI、证件号、OID……"),
    "look_up_go": ("Look up", "查询"),
    "terminology": ("Terminology", "术语"),
    "terminology_about": (
        "code systems, value sets and the maps between codes",
        "代码系统、值集与代码映射",
    ),
    "find_code": ("Find a code or a value set", "查找代码或值集"),
    "find_code_hint": ("code, name or URL", "代码、名称或 URL"),
    "first_codes": ("the first {most}", "前 {most} 条"),
    "codes": ("Codes", "代码"),
    "no_codes": ("No code was found.", "未找到代码。"),
    "code": ("Code", "代码"),
    "name": ("Name", "名称"),
    "other_name": ("In Chinese", "英文名称"),
    "names": ("Names", "名称"),
    "language": ("Language", "语言"),
    "version": ("Version", "版本"),
    "code_system": ("Code system", "代码系统"),
    "code_systems": ("Code systems", "代码系统"),
    "r4_systems": (
        "Those of FHIR R4 are found by their names and codes.",
        "FHIR R4 自带的代码系统可按名称或代码查找。",
    ),
    "value_sets": ("Value sets", "值集"),
    "properties": ("Properties", "属性"),
    "translations": ("Translations", "映射"),
    "equivalence": ("Equivalence", "对应关系"),
    "below": ("Below", "下级代码"),
    "inactive": ("inactive", "已停用"),
    "abstract": ("for grouping only", "仅用于分组"),
    "unmapped": ("Codes without a map", "未映射的代码"),
    "unmapped_about": (
        "asked of $translate, and no concept map knows them",
        "$translate 被询问而无映射的代码",
    ),
    "unmapped_link": ("{count} codes without a map", "{count} 个代码尚无映射"),
    "no_unmapped": ("There are none.", "暂无。"),
    "wanted_in": ("Wanted in", "目标系统"),
    "first_met": ("First met", "首次出现"),
    "state.received": ("received", "已接收"),
    "state.applied": ("applied", "已处理"),
    "state.duplicate": ("duplicate", "重复"),
    "state.failed": ("failed", "失败"),
    "state.discarded": ("discarded", "已搁置"),
    "state.replay": ("to be replayed", "待重放"),
}  # fmt: skip


def texts(language: str) -> dict[str, str]:
    """Return the words in a language of LANGUAGES."""
    column = list(LANGUAGES).index(language)
    return {name: both[column] for name, both in _TEXTS.items()}
