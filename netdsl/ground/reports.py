"""The diagnostics of one compilation, while they are gathered."""

from __future__ import annotations

from netdsl.ground.diagnostics import Diagnostic, Edit
from netdsl.ground.source import Span


class Reports:
    """The diagnostics so far, one for each cause: copies of a repeated element say the same again."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._seen: set[tuple[str, str, int, int]] = set()

    @property
    def has_errors(self) -> bool:
        return any(d.level == "error" for d in self.diagnostics)

    def add(self, *diagnostics: Diagnostic) -> None:
        for diagnostic in diagnostics:
            key = (diagnostic.code, diagnostic.span.source.name, diagnostic.span.start, diagnostic.span.end)
            if key not in self._seen:
                self._seen.add(key)
                self.diagnostics.append(diagnostic)

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        *help: str,
        notes: tuple[str, ...] = (),
        label: str = "",
        fix: Edit | None = None,
    ) -> None:
        self.add(Diagnostic(code, message, span, label, notes, help, fix=fix))

    def warn(self, code: str, message: str, span: Span, help: str, fix: Edit | None = None) -> None:
        self.add(Diagnostic(code, message, span, help=(help,), level="warning", fix=fix))
