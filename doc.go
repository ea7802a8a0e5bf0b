// Package tilescout holds the nouns that two floors of the house share and neither may own:
// a tile's encoded bytes (Picture), what a layer says of itself (LayerInfo) and the kinds of error.
//
// The program is in cmd/tilescout; docs/architecture.md shows the floors and the two ways through them.
package tilescout
