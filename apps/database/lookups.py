"""Conditions that Django has no words for."""

from collections.abc import Iterable

from django.db.models import BooleanField, F, Lookup


class AnyOf(Lookup):
    """True where a column has one of some values; for `filter`. As `in`, but the values are one parameter: thousands of
    them would take longer to write into a statement than to be looked up."""

    prepare_rhs = False
    output_field = BooleanField()

    def __init__(self, column: str, values: Iterable[object]) -> None:
        super().__init__(F(column), list(values))

    def get_db_prep_lookup(self, value, connection):
        return "%s", [value]

    def as_sql(self, compiler, connection):
        column, _ = self.process_lhs(compiler, connection)
        array, params = self.process_rhs(compiler, connection)
        return f"{column} = ANY ({array})", params
