package checkpoint_test

import (
	"testing"

	"github.com/tilescout/tilescout/encoder/checkpoint"
	"github.com/tilescout/tilescout/tileserver/source/sourcetest"
)

func TestSmoke(t *testing.T) {
	for _, d := range []string{"hf", "hf_sharded_bf16", "open_clip_safetensors"} {
		c, err := checkpoint.Open(t.Context(), sourcetest.Shared(t, "clip", "tiny", d), checkpoint.Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		t.Logf("%+v %s %g %+v %+v unused %v", c.Architecture(), c.Format(), c.LogitScale(), c.Tokenizer(), c.Preprocessing(), c.Unused())
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
