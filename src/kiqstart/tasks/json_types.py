"""Which types survive the trip through JSON, found before anything is sent.

Values are written by pydantic as what they are (a model by its own rules, everything else by its Python type), and read
back by the type that the parameter declares. Most types come back as they went; this module names those that do not.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Final, cast

from pydantic import Secret, SecretBytes, SecretStr, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import SchemaValidator, core_schema, to_jsonable_python

_Schema = Mapping[str, Any]  # pydantic's core schemas, whose keys depend on their type

# Written as what they are, and read back: there is nothing to look for in them.
_PLAIN: Final = frozenset({"any", "bool", "date", "datetime", "decimal", "float", "int", "none", "str", "time", "uuid"})
# What a parsed JSON document is made of.
_JSON_VALUES: Final[tuple[object, ...]] = (None, True, 1, 1.5, "", [], {})
_KEYS_OF_SEVERAL_PARTS: Final = frozenset(
    {"dataclass", "dict", "frozenset", "list", "model", "none", "nullable", "set", "tuple"}
)


class _CannotTravelError(Exception):
    """Carries what is wrong with a type, and with which part of it, out of pydantic's walk through it."""

    def __init__(self, problem: str, cls: type | None = None) -> None:
        super().__init__(problem if cls is None else f"in {cls.__name__}, {problem}")
        self.problem = problem
        self.cls = cls


def json_problem(adapter: TypeAdapter[Any]) -> str | None:
    """Why values of a type do not arrive as they were sent, and what to declare instead; None if they do."""
    if not adapter.pydantic_complete:
        return "it refers to a type that is not known at run time: import that type at run time"
    if adapter.core_schema["type"] in _PLAIN:
        return None
    try:
        # A value is written, then validated; either may be what fails.
        adapter.json_schema(mode="serialization", by_alias=False, schema_generator=_Walk)
        adapter.json_schema(mode="validation", by_alias=False, schema_generator=_Walk)
    except _CannotTravelError as error:
        return str(error)
    except Exception:  # noqa: BLE001  # a type need not have a JSON schema to be sent as JSON
        return None
    return None


class _Walk(GenerateJsonSchema):
    """Goes through a type as pydantic does for its JSON schema, and stops at what does not survive JSON."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # pydantic's, handed on
        super().__init__(*args, **options)
        self._models = 0

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:  # noqa: ANN401  # a core schema
        """Go through a type; what pydantic does then with the schema that comes of it takes as long again."""
        self._mode: JsonSchemaMode = mode
        return self.generate_inner(schema)

    def generate_inner(self, schema: Any) -> JsonSchemaValue:  # noqa: ANN401  # a core schema or a field of one
        """Check one node."""
        if problem := self._problem(schema):
            raise _CannotTravelError(problem)
        try:
            return super().generate_inner(schema)
        except _CannotTravelError as error:
            if "cls" not in schema or error.cls is not None:
                raise
            raise _CannotTravelError(error.problem, schema["cls"]) from None

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Within a model, its own serializers count."""
        self._models += 1
        try:
            return super().model_schema(schema)
        finally:
            self._models -= 1

    def ser_schema(self, schema: Any) -> JsonSchemaValue | None:  # noqa: ANN401  # any of pydantic's serialization schemas
        """Outside a model, a serializer in an annotation is not asked: values are written by their Python type."""
        return super().ser_schema(schema) if self._models else None

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """What a validator takes in is its own affair."""
        return {} if self.mode == "validation" else super().function_before_schema(schema)

    def function_wrap_schema(self, schema: core_schema.WrapValidatorFunctionSchema) -> JsonSchemaValue:
        """What a validator takes in is its own affair."""
        return {} if self.mode == "validation" else super().function_wrap_schema(schema)

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:  # noqa: ANN401, ARG002  # pydantic's
        """A type without a JSON schema may still be sent."""
        return {}

    def emit_warning(self, kind: str, detail: str) -> None:
        """Defaults that JSON cannot hold are never sent."""

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401, ARG002  # pydantic's
        """Defaults are of no interest here."""
        return None

    def _problem(self, schema: _Schema) -> str | None:
        kind = schema["type"]
        if self._is_secret(schema):
            return "a secret is written as asterisks; pass an id by which the task finds it, or the plain text"
        if kind == "json" and self._models:
            return "a Json field is read from text but written as its value; declare the type of the value"
        if kind == "bytes" and {self._config.ser_json_bytes, self._config.val_json_bytes} != {"utf8"}:
            return "bytes written as base64 or hex are read back as that text; declare Base64Bytes"
        if kind == "model-fields" and schema.get("computed_fields") and self._config.extra == "forbid":
            return "extra fields are forbidden, so the computed ones cannot be read back"
        check = _CHECKS.get(kind)
        return None if check is None else check(schema)

    def _is_secret(self, schema: _Schema) -> bool:
        # A model's field may have a serializer of its own, which stands before that of the secret.
        nodes = [schema] if self._models and "serialization" in schema else [schema, schema.get("lax_schema", {})]
        return any(node.get("serialization", {}).get("function") in _SECRET_SERIALIZERS for node in nodes)


def _code_problem(_: _Schema) -> str:
    return "functions and classes cannot be sent as JSON; pass a name"


def _instance_problem(schema: _Schema) -> str | None:
    cls = schema["cls"]
    with suppress(TypeError):
        if any(isinstance(value, cls) for value in _JSON_VALUES):
            return None
    name = getattr(cls, "__qualname__", str(cls))
    return f"{name} cannot be sent as JSON; pass plain values, or declare a pydantic model"


def _enum_problem(schema: _Schema) -> str | None:
    validate = SchemaValidator(cast("Any", schema)).validate_python
    for member in schema["members"]:
        if not _arrives(member, member, validate):
            return f"the value of {member!r} does not come back from JSON; give its members text or numbers"
    return None


def _literal_problem(schema: _Schema) -> str | None:
    for value in schema["expected"]:
        if not _arrives(value, value, SchemaValidator(core_schema.literal_schema([value])).validate_python):
            return f"{value!r} does not come back from JSON; declare Literal of text or numbers, or the Enum itself"
    return None


def _keys_problem(schema: _Schema) -> str | None:
    keys: _Schema = schema.get("keys_schema", {"type": "any"})
    kind = keys["type"]
    if kind in _KEYS_OF_SEVERAL_PARTS:
        return "keys become text in JSON, from which these do not come back; send a list of pairs"
    members = keys["members"] if kind == "enum" else keys["expected"] if kind == "literal" else ()
    for member in members:
        [text] = to_jsonable_python({member: None})
        if not _arrives(text, member, SchemaValidator(cast("Any", keys)).validate_python):
            return f"{member!r} as a key becomes text in JSON and does not come back; send a list of pairs"
    return None


def _fields_problem(schema: _Schema) -> str | None:
    if schema["type"] == "dataclass-args":
        named = {field["name"]: field for field in cast("list[_Schema]", schema["fields"])}
    else:
        named = cast("dict[str, _Schema]", schema["fields"])
    for name, field in named.items():
        is_required = field["schema"]["type"] != "default" and field.get("required", True)
        if field.get("serialization_exclude") and is_required:
            return f"the field {name} is required, but excluded when it is written"
    return None


def _arrives(sent: object, expected: object, validate: Any) -> bool:  # noqa: ANN401  # pydantic's validator
    try:
        arrived = validate(to_jsonable_python(sent))
    except ValueError:
        return False
    return bool(arrived is expected if isinstance(expected, Enum) else arrived == expected)


_CHECKS: Final[Mapping[str, Callable[[_Schema], str | None]]] = {
    "callable": _code_problem,
    "is-subclass": _code_problem,
    "is-instance": _instance_problem,
    "enum": _enum_problem,
    "literal": _literal_problem,
    "dict": _keys_problem,
    "model-fields": _fields_problem,
    "typed-dict": _fields_problem,
    "dataclass-args": _fields_problem,
}


def _serializers(schema: object) -> Iterable[object]:
    if isinstance(schema, dict):
        known = cast("dict[str, object]", schema)
        if "info_arg" in known:
            yield known.get("function")
        for value in known.values():
            yield from _serializers(value)


# What makes the asterisks, as pydantic itself names it in the schemas of its secrets.
_SECRET_SERIALIZERS: Final = tuple(
    function
    for secret in (SecretStr, SecretBytes, Secret[str])
    for function in _serializers(TypeAdapter(secret).core_schema)
)
