package convert_test

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tilescout/tilescout/encoder/convert"
	"github.com/tilescout/tilescout/encoder/encodertest"
)

// Converting holds a few tensors at a time, never the checkpoint (target P10 allows 1.5 times its file for the process;
// this heap is the part that the conversion makes).
func TestConvertMemory(t *testing.T) {
	a := smallCLIP()
	a.ImageSize, a.PatchSize, a.Width, a.Layers, a.Heads, a.MLP = 64, 32, 384, 6, 6, 1536
	a.Vocabulary, a.BOS, a.EOS = 700, 698, 699
	src := t.TempDir()
	encodertest.NewFormula(a).WriteFolder(t, src)
	info, err := os.Stat(filepath.Join(src, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, src)
	runtime.GC()
	heap := func() uint64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before, peak := heap(), atomic.Uint64{}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				peak.Store(max(peak.Load(), heap()))
			}
		}
	}()
	_, err = convert.Convert(t.Context(), c, filepath.Join(t.TempDir(), "out"), convert.Options{ID: "x"})
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	grown := float64(peak.Load()) - float64(before)
	t.Logf("the heap grew by %.1f MB at most, the file has %.1f MB", grown/1e6, float64(info.Size())/1e6)
	if grown > float64(info.Size()) {
		t.Errorf("the heap grew by %.1f MB to convert a file of %.1f MB, want less than the file", grown/1e6, float64(info.Size())/1e6)
	}
}
