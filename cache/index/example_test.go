package index_test

import (
	"context"
	"fmt"
	"os"

	"github.com/tilescout/tilescout/cache/index"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "index")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := index.Open(dir, index.Options{MinFree: -1})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	set, err := store.Set(ctx, index.Key{Layer: "city", Version: "f3", Model: "9b", Preprocessing: "p1", Zoom: 17, Dimension: 3})
	if err != nil {
		panic(err)
	}
	err = set.Put(ctx, []index.Row{
		{Code: 40, Embedding: []float32{0, 1, 0}},
		{Code: 12, Embedding: []float32{0.6, 0.8, 0}},
		{Code: 13, Blank: true}, // nothing on that tile
	})
	if err != nil {
		panic(err)
	}
	snap := set.Snapshot()
	defer snap.Release()
	query, err := snap.Quantize([]float32{1, 0, 0})
	if err != nil {
		panic(err)
	}
	similarities := make([]float32, snap.Len())
	if err := snap.Scan(ctx, query, 0, snap.Len(), similarities); err != nil {
		panic(err)
	}
	for _, i := range index.TopK(similarities, 10) {
		fmt.Printf("tile %d: %.1f\n", snap.Codes()[i], similarities[i])
	}
	// Output:
	// tile 12: 0.6
	// tile 40: 0.0
}
