// Package tileserver serves layers of map tiles over HTTP: XYZ, TileJSON, WMTS 1.0.0, the web map, health and
// metrics. It knows tiles and their encodings, and nothing of embeddings: the semantic routes are somebody else's,
// mounted on its router through Options.Register.
//
//	s, err := tileserver.New(tileserver.Options{Layers: []tileserver.Layer{{Tiles: city}}})
//	if err != nil {
//		return err
//	}
//	l, err := net.Listen("tcp", "localhost:8080")
//	if err != nil {
//		return err
//	}
//	return s.Serve(ctx, l)
package tileserver
