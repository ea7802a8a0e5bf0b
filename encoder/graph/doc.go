// Package graph writes the ONNX graphs of a CLIP checkpoint's two towers, without Python and without ever holding more
// than a few tensors in memory.
//
//	weights, _ := os.Create("model/image.weights")
//	onnx, err := graph.Image(ctx, c, c.Architecture(), graph.ImageOptions{}, weights)
//
// What a picture costs is decided here: patches are cut from bytes and embedded by one product into which the
// normalisation is folded, queries, keys and values come from one product, the last block is computed for the class
// token only, and activations are written so that ONNX Runtime makes single operators of them.
package graph
