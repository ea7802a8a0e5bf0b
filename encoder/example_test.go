package encoder_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/encoder"
)

func Example() {
	ctx := context.Background()
	enc, err := encoder.Open(ctx, encoder.Options{Model: "bundled"})
	if err != nil {
		log.Fatal(err)
	}
	defer enc.Close()
	data, err := os.ReadFile("tile.jpg")
	if err != nil {
		log.Fatal(err)
	}
	images, err := enc.Images(ctx, []tilescout.Picture{{Data: data}}, encoder.Interactive)
	if err != nil {
		log.Fatal(err)
	}
	texts, err := enc.Texts(ctx, []string{"a stadium", "a forest"})
	if err != nil {
		log.Fatal(err)
	}
	labels := [][]float32{texts[0].Embedding, texts[1].Embedding}
	fmt.Println(encoder.Softmax(enc.Model().LogitScale, images[0], labels))
}
