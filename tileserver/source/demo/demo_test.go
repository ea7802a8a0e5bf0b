package demo

import (
	"context"
	"testing"
)

func TestEnsureSmall(t *testing.T) {
	s, err := Ensure(context.Background(), t.TempDir(), Options{Seed: 3, Width: 900, Height: 700}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if fc, err := ReadTruth(s.Truth); err != nil || len(fc.Features) == 0 {
		t.Fatalf("truth: %d features, %v", len(fc.Features), err)
	}
}
