// Package search answers "where is it?": it embeds the tiles of a layer when somebody looks or asks,
// scans the embeddings for a prompt, calibrates, ranks and groups. It knows no HTTP and draws nothing.
//
// One score vector per prompt and layer feeds everything that is shown of an answer (overlay, features,
// legend), so they cannot disagree.
//
//	engine, _ := search.New(enc, store, search.Options{})
//	defer engine.Close()
//	_ = engine.Add(tiles, search.LayerOptions{})
//	answer, _ := engine.Search(ctx, search.Query{Layer: "city", Prompts: []string{"stadium"}})
//	for _, m := range answer.Matches {
//		fmt.Println(m.Rank, m.Tile, m.Score)
//	}
package search
