// Package plugin is the semantic part over anybody's tiles: it mounts search, overlay, similar and
// classify on a mux.Router. It parses parameters, asks the engine and draws.
//
//	engine, _ := search.New(ctx, enc, store, search.Options{})
//	_ = engine.Add(ctx, tiles, search.LayerOptions{})
//	router := mux.NewRouter()
//	plugin.New(engine).Register(router)
//	http.ListenAndServe("localhost:8080", router)
package plugin
