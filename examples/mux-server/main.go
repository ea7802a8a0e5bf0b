// Command mux-server adds search to a plain gorilla/mux server over a GeoTIFF or MBTiles file: GET /search/mine?q=stadium.
package main

import (
	"cmp"
	"context"
	"log"
	"net/http"
	"os"

	"github.com/gorilla/mux"
	"github.com/tilescout/tilescout/cache/index"
	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/plugin"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
)

func main() {
	ctx := context.Background()
	tiles := must(kinds.Open(ctx, source.Spec{ID: "mine", Source: os.Args[1]}, kinds.Options{}))
	enc := must(encoder.Open(ctx, encoder.Options{}))
	store := must(index.Open(os.TempDir()+"/tilescout-example", index.Options{}))
	engine := must(search.New(ctx, enc, store, search.Options{}))
	if err := engine.Add(ctx, tiles, search.LayerOptions{}); err != nil {
		log.Fatal(err)
	}
	router := mux.NewRouter() // yours, with whatever it serves already
	plugin.New(engine).Register(router)
	log.Fatal(http.ListenAndServe(cmp.Or(os.Getenv("LISTEN"), "localhost:8090"), router))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
