from ottla.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConfigResource(_message.Message):
    __slots__ = ("type", "name")
    class Type(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[ConfigResource.Type]
        TOPIC: _ClassVar[ConfigResource.Type]
        BROKER: _ClassVar[ConfigResource.Type]
    UNSPECIFIED: ConfigResource.Type
    TOPIC: ConfigResource.Type
    BROKER: ConfigResource.Type
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    type: ConfigResource.Type
    name: str
    def __init__(self, type: _Optional[_Union[ConfigResource.Type, str]] = ..., name: _Optional[str] = ...) -> None: ...

class DescribeConfigsRequest(_message.Message):
    __slots__ = ("resources",)
    class Resource(_message.Message):
        __slots__ = ("resource", "keys")
        RESOURCE_FIELD_NUMBER: _ClassVar[int]
        KEYS_FIELD_NUMBER: _ClassVar[int]
        resource: ConfigResource
        keys: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, resource: _Optional[_Union[ConfigResource, _Mapping]] = ..., keys: _Optional[_Iterable[str]] = ...) -> None: ...
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[DescribeConfigsRequest.Resource]
    def __init__(self, resources: _Optional[_Iterable[_Union[DescribeConfigsRequest.Resource, _Mapping]]] = ...) -> None: ...

class ConfigEntry(_message.Message):
    __slots__ = ("key", "value", "default_value", "source", "read_only", "sensitive", "documentation")
    class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[ConfigEntry.Source]
        DYNAMIC_TOPIC_CONFIG: _ClassVar[ConfigEntry.Source]
        DYNAMIC_BROKER_CONFIG: _ClassVar[ConfigEntry.Source]
        DYNAMIC_DEFAULT_BROKER_CONFIG: _ClassVar[ConfigEntry.Source]
        STATIC_BROKER_CONFIG: _ClassVar[ConfigEntry.Source]
        DEFAULT_CONFIG: _ClassVar[ConfigEntry.Source]
    UNSPECIFIED: ConfigEntry.Source
    DYNAMIC_TOPIC_CONFIG: ConfigEntry.Source
    DYNAMIC_BROKER_CONFIG: ConfigEntry.Source
    DYNAMIC_DEFAULT_BROKER_CONFIG: ConfigEntry.Source
    STATIC_BROKER_CONFIG: ConfigEntry.Source
    DEFAULT_CONFIG: ConfigEntry.Source
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    SENSITIVE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTATION_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    default_value: str
    source: ConfigEntry.Source
    read_only: bool
    sensitive: bool
    documentation: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., default_value: _Optional[str] = ..., source: _Optional[_Union[ConfigEntry.Source, str]] = ..., read_only: _Optional[bool] = ..., sensitive: _Optional[bool] = ..., documentation: _Optional[str] = ...) -> None: ...

class DescribeConfigsResponse(_message.Message):
    __slots__ = ("resources",)
    class Resource(_message.Message):
        __slots__ = ("resource", "error", "entries")
        RESOURCE_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        ENTRIES_FIELD_NUMBER: _ClassVar[int]
        resource: ConfigResource
        error: _types_pb2.Error
        entries: _containers.RepeatedCompositeFieldContainer[ConfigEntry]
        def __init__(self, resource: _Optional[_Union[ConfigResource, _Mapping]] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., entries: _Optional[_Iterable[_Union[ConfigEntry, _Mapping]]] = ...) -> None: ...
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[DescribeConfigsResponse.Resource]
    def __init__(self, resources: _Optional[_Iterable[_Union[DescribeConfigsResponse.Resource, _Mapping]]] = ...) -> None: ...

class AlterConfigsRequest(_message.Message):
    __slots__ = ("resources", "validate_only")
    class Change(_message.Message):
        __slots__ = ("key", "operation", "value")
        class Operation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            SET: _ClassVar[AlterConfigsRequest.Change.Operation]
            DELETE: _ClassVar[AlterConfigsRequest.Change.Operation]
            APPEND: _ClassVar[AlterConfigsRequest.Change.Operation]
            SUBTRACT: _ClassVar[AlterConfigsRequest.Change.Operation]
        SET: AlterConfigsRequest.Change.Operation
        DELETE: AlterConfigsRequest.Change.Operation
        APPEND: AlterConfigsRequest.Change.Operation
        SUBTRACT: AlterConfigsRequest.Change.Operation
        KEY_FIELD_NUMBER: _ClassVar[int]
        OPERATION_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        operation: AlterConfigsRequest.Change.Operation
        value: str
        def __init__(self, key: _Optional[str] = ..., operation: _Optional[_Union[AlterConfigsRequest.Change.Operation, str]] = ..., value: _Optional[str] = ...) -> None: ...
    class Resource(_message.Message):
        __slots__ = ("resource", "changes")
        RESOURCE_FIELD_NUMBER: _ClassVar[int]
        CHANGES_FIELD_NUMBER: _ClassVar[int]
        resource: ConfigResource
        changes: _containers.RepeatedCompositeFieldContainer[AlterConfigsRequest.Change]
        def __init__(self, resource: _Optional[_Union[ConfigResource, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[AlterConfigsRequest.Change, _Mapping]]] = ...) -> None: ...
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[AlterConfigsRequest.Resource]
    validate_only: bool
    def __init__(self, resources: _Optional[_Iterable[_Union[AlterConfigsRequest.Resource, _Mapping]]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class AlterConfigsResponse(_message.Message):
    __slots__ = ("resources",)
    class Resource(_message.Message):
        __slots__ = ("resource", "error")
        RESOURCE_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        resource: ConfigResource
        error: _types_pb2.Error
        def __init__(self, resource: _Optional[_Union[ConfigResource, _Mapping]] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ...) -> None: ...
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[AlterConfigsResponse.Resource]
    def __init__(self, resources: _Optional[_Iterable[_Union[AlterConfigsResponse.Resource, _Mapping]]] = ...) -> None: ...
