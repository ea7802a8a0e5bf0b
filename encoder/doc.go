// Package encoder turns pictures and prompts into unit-length embeddings of one space, so that the dot product of a
// picture's and a prompt's embedding is their cosine similarity.
//
// A picture's way: decode (decode.go, colour.go), resize exactly as Pillow does (resize.go), one row of a batch
// (runner.go), the image tower (onnxruntime). A prompt's way: words (tokenizer.go), the text tower. What a model is made
// of stands in its folder (model.go).
//
//	enc, err := encoder.Open(ctx, encoder.Options{Model: "bundled", DataDir: dir})
//	images, err := enc.Images(ctx, []tilescout.Picture{tile}, encoder.Interactive)
//	texts, err := enc.Texts(ctx, []string{"a satellite image of a stadium"})
package encoder
