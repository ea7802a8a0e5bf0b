package kept_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/encoder/kept"
)

// counter embeds a prompt by its length and counts what it is asked.
type counter struct {
	model encoder.Model
	asked int
}

func (c *counter) Model() encoder.Model { return c.model }

func (c *counter) Texts(_ context.Context, prompts []string) ([]encoder.Text, error) {
	c.asked += len(prompts)
	out := make([]encoder.Text, len(prompts))
	for i, p := range prompts {
		out[i] = encoder.Text{Embedding: []float32{float32(len(p)), 1, 2}[:c.model.Dimension], Truncated: p == "long"}
	}
	return out, nil
}

func ask(t *testing.T, k *kept.Texts, prompts ...string) []encoder.Text {
	t.Helper()
	out, err := k.Texts(t.Context(), prompts)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vocabulary")
	c := &counter{model: encoder.Model{Digest: "abc", Dimension: 3}}
	k := kept.Open(c, dir)
	want := ask(t, k, "stadium", "a stadium", "long")
	if err := k.Save(); err != nil {
		t.Fatal(err)
	}
	ask(t, k, "what somebody types")
	if err := k.Save(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "abc")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]struct {
		model   encoder.Model
		file    []byte
		prompts []string
		asked   int
	}{
		"the same model":                 {c.model, whole, []string{"stadium", "a stadium"}, 0},
		"one that was truncated":         {c.model, whole, []string{"stadium", "long"}, 2},
		"one asked after Save":           {c.model, whole, []string{"what somebody types"}, 1},
		"another model":                  {encoder.Model{Digest: "def", Dimension: 3}, whole, []string{"stadium"}, 1},
		"another dimension":              {encoder.Model{Digest: "abc", Dimension: 2}, whole, []string{"stadium"}, 1},
		"a model of whole words":         {encoder.Model{Digest: "abc", Dimension: 3, Words: []string{"stadium"}}, whole, []string{"stadium"}, 1},
		"a bit turned over":              {c.model, turned(whole, len(whole)-2), []string{"stadium"}, 1},
		"a file cut off":                 {c.model, whole[:len(whole)-1], []string{"stadium"}, 1},
		"an empty file":                  {c.model, nil, []string{"stadium"}, 1},
		"something behind the last row":  {c.model, append(slices.Clone(whole), 0), []string{"stadium"}, 1},
		"another program's file":         {c.model, []byte("#!/bin/sh\n"), []string{"stadium"}, 1},
		"a checksum that is another one": {c.model, turned(whole, 20), []string{"stadium"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, s.file, 0o644); err != nil {
				t.Fatal(err)
			}
			c := &counter{model: s.model}
			k := kept.Open(c, dir)
			got := ask(t, k, s.prompts...)
			if c.asked != s.asked {
				t.Errorf("the model was asked %d prompts, want %d", c.asked, s.asked)
			}
			if want := want[0].Embedding[:s.model.Dimension]; s.prompts[0] == "stadium" && !slices.Equal(got[0].Embedding, want) {
				t.Errorf("embedding %v, want %v", got[0].Embedding, want)
			}
			if err := k.Save(); err != nil {
				t.Fatal(err)
			}
			// Damage is mended by the next Save.
			again := &counter{model: s.model}
			ask(t, kept.Open(again, dir), s.prompts...)
			if again.asked != 0 && s.model.Words == nil && !slices.Contains(s.prompts, "long") {
				t.Errorf("asked %d prompts again", again.asked)
			}
		})
	}
	if leftovers, _ := filepath.Glob(filepath.Join(dir, ".*")); len(leftovers) > 0 {
		t.Errorf("left behind: %v", leftovers)
	}
}

func turned(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 4
	return b
}

// A folder that cannot be written is an error of Save, not of the prompts.
func TestCannotSave(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	k := kept.Open(&counter{model: encoder.Model{Digest: "abc", Dimension: 3}}, filepath.Join(file, "vocabulary"))
	ask(t, k, "stadium")
	if err := k.Save(); err == nil {
		t.Error("saved below a file")
	}
}
