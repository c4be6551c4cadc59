"""How template fields are rendered: what the API knows as text stays text, and values are read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_kernel.client.errors import KernelInputError
from airflow_provider_kernel.client.safe_logger import get_logger
from airflow_provider_kernel.client.sanitize import short_repr

log = get_logger(__name__)

#: The template fields that hold text or a list of texts, in every class that has them. A DAG with
#: ``render_template_as_native_obj=True`` renders the other ones natively: "1.10" is a version, and a number there.
TEXT_FIELDS = frozenset(
    {
        "action_name",
        "app_name",
        "code",
        "dag_ids",
        "invocation_id",
        "kernel_conn_id",
        "reason",
        "status",
        "version",
    }
)
#: The template fields that are sent to Kernel as JSON. Functions get their arguments as Airflow hands them over.
JSON_FIELDS = frozenset({"args", "invocation_output", "output", "payload"})


class TextRenderingMixin:
    """Renders :data:`TEXT_FIELDS` as text, also in a DAG that renders natively. For operators and notifiers."""

    #: Whether a rendered field that cannot be sent is refused only when the task asks: it may own something.
    refuses_late = False
    _refused: KernelInputError | None = None
    template_ext: Sequence[str]

    def _refuse_rendered(self, name: str, error: KernelInputError) -> None:
        if not self.refuses_late:
            raise error
        self._refused = error
        setattr(self, name, f"(not sent) {error}")  # what Airflow shows

    def check_refused(self) -> None:
        """Raise the error of a rendered field that cannot be sent."""
        if self._refused is not None:
            raise self._refused

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Any, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        render: Any = super()._do_render_template_fields  # type: ignore[misc]
        if parent is not self:  # an object in a field, with template fields of its own
            render(parent, template_fields, context, jinja_env, seen_oids)
            return
        from airflow_provider_kernel.arguments import check_rendered

        fields = tuple(template_fields)
        templates = {name: getattr(self, name) for name in JSON_FIELDS.intersection(fields)}
        texts = [name for name in fields if name in TEXT_FIELDS]
        render(self, [name for name in fields if name not in TEXT_FIELDS], context, jinja_env, seen_oids)
        for name, template in templates.items():
            rendered = read_values(getattr(self, name))
            setattr(self, name, rendered)
            # Before Airflow, which stores the rendered fields and takes neither NaN nor infinity.
            try:
                check_rendered(self, name, template=template, jinja_env=jinja_env)
            except KernelInputError as error:
                self._refuse_rendered(name, error)
        templater: Any = None
        for name in texts:
            value = getattr(self, name)
            # Most texts are plain, and Jinja would compile each.
            if value is None or _is_plain(value, jinja_env, self.template_ext):
                continue
            templater = templater or _text_templater(self, context, jinja_env)
            try:
                setattr(self, name, _text_of(name, value, templater, context, seen_oids))
            except Exception:
                # Airflow logs the error, but not of which field it is.
                log.error("The template field %s cannot be rendered", name)  # noqa: TRY400
                raise


def read_values(value: Any) -> Any:
    """
    Read the outputs of mapped tasks, which Airflow fetches when somebody asks for them.

    Once, and before a request to Kernel is built from them: that may happen again, and in a killed task.

    :return: the value with a list for each of them, and a dict or list for any other ``Mapping`` or ``Sequence``.
    """
    from airflow_provider_kernel.client.json_encoding import to_plain

    return to_plain(value, _read)


def _read(values: Sequence[Any]) -> Iterable[Any]:
    from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

    # One call to Airflow for all of them, and an error is none of its items.
    return values[:] if isinstance(values, LazyXComSequence) else values


def _text_templater(owner: Any, context: Any, jinja_env: Any) -> Any:
    from airflow.sdk.definitions._internal.templater import Templater
    from airflow.sdk.definitions.context import render_template_to_string
    from jinja2.nativetypes import NativeEnvironment

    class TextTemplater(Templater):
        template_fields = ()
        template_ext = owner.template_ext

        def get_template_env(self, dag: Any = None) -> Any:
            return environment

        def _render(self, template: Any, context: Any, dag: Any = None) -> str:
            return render_template_to_string(template, context)

    environment = jinja_env
    if environment is None or isinstance(environment, NativeEnvironment):
        dag = owner.get_dag() if hasattr(owner, "get_dag") else context.get("dag")
        # ``dag.test()`` passes notifiers the serialized DAG, which has no template environment.
        if hasattr(dag, "get_template_env"):
            environment = dag.get_template_env(force_sandboxed=True)
        else:
            environment = Templater.get_template_env(owner)
    return TextTemplater()


def _is_plain(value: Any, jinja_env: Any, template_ext: Sequence[str]) -> bool:
    """Whether a value is one line of text without anything that is a template to an environment."""
    if not isinstance(value, str) or jinja_env is None or value.endswith(tuple(template_ext)):
        return False
    starts = (jinja_env.block_start_string, jinja_env.variable_start_string, jinja_env.comment_start_string)
    prefixes = (jinja_env.line_statement_prefix, jinja_env.line_comment_prefix)
    return not any(mark in value for mark in ("\n", "\r", *starts, *prefixes) if mark)


def _text_of(name: str, value: Any, templater: Any, context: Any, seen_oids: set[int]) -> Any:
    rendered = read_values(templater.render_template(value, context, templater.get_template_env(), seen_oids))
    if name == "dag_ids":
        if isinstance(rendered, (list, tuple)) and all(isinstance(item, str) for item in rendered):
            return rendered
        allowed = "a list of texts"
    elif rendered is None or isinstance(rendered, str):
        return rendered
    else:
        allowed = "text"
    what = short_repr(rendered) if not isinstance(rendered, (Mapping, Sequence)) else "a value"
    advice = (
        "If another task returned it, let that one return text: an id, a name or a version may have another form "
        "as a number"
    )
    if isinstance(rendered, Sequence) and allowed == "text":
        advice = f"Where the task that returned it is mapped, or returns a list, map this one: .expand({name}=...)"
    raise KernelInputError(f"{name} is {what} of type {type(rendered).__name__}; it takes {allowed}. {advice}")
