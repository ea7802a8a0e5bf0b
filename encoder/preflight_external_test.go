package encoder

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tilescout/tilescout"
)

// Tensors may lie in the weights file that the manifest names, inside its bounds, and nowhere else.
func TestPreflightExternalWeights(t *testing.T) {
	for _, c := range []struct {
		name                     string
		location, offset, length string
		weights                  string
		ok                       bool
	}{
		{"inside", "image.weights", "64", "36", "image.weights", true},
		{"none named", "image.weights", "0", "4", "", false},
		{"another file", "text.weights", "0", "4", "image.weights", false},
		{"a folder up", "../image.weights", "0", "4", "image.weights", false},
		{"beyond the end", "image.weights", "64", "37", "image.weights", false},
		{"overflow", "image.weights", "9223372036854775807", "9223372036854775807", "image.weights", false},
		{"negative", "image.weights", "-1", "4", "image.weights", false},
		{"no length", "image.weights", "0", "", "image.weights", false},
		{"no number", "image.weights", "0x10", "4", "image.weights", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tensor []byte
			for _, kv := range [][2]string{{"location", c.location}, {"offset", c.offset}, {"length", c.length}} {
				if kv[1] == "" {
					continue
				}
				entry := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), kv[0])
				entry = protowire.AppendString(protowire.AppendTag(entry, 2, protowire.BytesType), kv[1])
				tensor = protowire.AppendBytes(protowire.AppendTag(tensor, tensorExternal, protowire.BytesType), entry)
			}
			tensor = protowire.AppendVarint(protowire.AppendTag(tensor, tensorLocation, protowire.VarintType), 1)
			err := checkTensor(tensor, tower{weights: c.weights, size: 100})
			if c.ok && err != nil || !c.ok && !errors.Is(err, tilescout.ErrBadInput) {
				t.Errorf("checkTensor: %v, want ok %v", err, c.ok)
			}
		})
	}
}
