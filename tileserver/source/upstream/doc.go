// Package upstream asks other people's servers for pictures and documents, on behalf of every kind of remote source.
//
//	client, err := upstream.NewClient(spec, []string{"tiles.example"}, upstream.Options{})
//	fetcher, err := client.NewFetcher(spec, "tiles.example", version)
//	pic, err := fetcher.Picture(ctx, upstream.Request{Key: "1/0/1", URL: address, Shown: masked})
//
// It is a polite client: few requests at once, its own name, what it fetched is kept as long as the headers say and
// then asked for by its validator, and a host that fails or asks for quiet is left alone. It is a wary one too: it
// connects only to the public internet and to what the operator wrote, and checks an answer before it is kept or
// passed on.
package upstream
