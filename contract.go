package tilescout

import _ "embed" // for the contract

// OpenAPI is the contract of the HTTP interface, as it is served at /openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte
