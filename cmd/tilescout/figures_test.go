package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestFiguresAreFed: a server that embeds and searches shows every metric of the model, the index and the search, and
// each has its row in the documentation.
func TestFiguresAreFed(t *testing.T) {
	s := start(t, "serve", smallMosaic(t), "--data", t.TempDir(), "--index")
	if _, searches := modelOf(t, s); !searches {
		t.Skip("no model here")
	}
	soon(t, "an embedded tile", func() bool {
		n := metric(t, s.url, `tilescout_index_rows{layer="small"}`)
		return n != "" && n != "0"
	})
	soon(t, "a search", func() bool { code, _ := fetch(t, s.url+"/search/small?q=forest"); return code == 200 })
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`tilescout_search_rows_scanned_total{layer="small",path="scan"}`, `tilescout_search_duration_seconds_count{layer="small",path="scan"}`,
		`tilescout_index_fsync_seconds_count{layer="small"}`, `tilescout_encoder_memory_bytes`,
		`tilescout_encode_batches_total{kind="image"}`, `tilescout_encode_duration_seconds_count{kind="text"}`,
	} {
		if v := metric(t, s.url, line); v == "" || v == "0" {
			t.Errorf("%s = %q, want something", line, v)
		}
		name, _, _ := strings.Cut(line, "{")
		if name = strings.TrimSuffix(name, "_count"); !bytes.Contains(docs, []byte("`"+name+"`")) {
			t.Errorf("%s has no row in the documentation", name)
		}
	}
}
