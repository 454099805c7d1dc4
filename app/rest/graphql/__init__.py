"""GraphQL over FHIR resources (R4 graphql.html): `language` reads a query, `execute` answers it."""
