package tileserver_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/paulmach/orb/maptile"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/tileserver"
)

// BenchmarkTile serves over loopback with as many connections as processors (P7): native bytes that the server
// holds, bytes that only the source holds, and a conversion each time; "bare" is package http with the same bytes
// and nothing else, the bound of it all.
func BenchmarkTile(b *testing.B) {
	picture := paint(inside, tilescout.JPEG, 256)
	for _, bench := range []struct {
		name, ext string
		cache     int64
	}{{"bare", "jpg", 0}, {"held", "jpg", 0}, {"source", "jpg", -1}, {"png", "png", -1}, {"webp", "webp", -1}} {
		b.Run(bench.name, func(b *testing.B) {
			m := city()
			m.make = func(maptile.Tile) (tilescout.Picture, error) { return picture, nil }
			s, err := tileserver.New(tileserver.Options{Layers: []tileserver.Layer{{Tiles: m}}, CacheBytes: bench.cache})
			if err != nil {
				b.Fatal(err)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			if bench.name == "bare" {
				bare := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(picture.Data) })}
				go func() { _ = bare.Serve(l); done <- nil }()
				go func() { <-ctx.Done(); bare.Close() }()
			} else {
				go func() { done <- s.Serve(ctx, l) }()
			}
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			var n atomic.Uint32
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1) % 4096
					res, err := client.Get(fmt.Sprintf("http://%s/tiles/city/16/%d/%d.%s", l.Addr(), 33000+i%64, 21000+i/64, bench.ext))
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode != 200 {
						b.Errorf("status %d", res.StatusCode)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tiles/s")
			client.CloseIdleConnections()
			stop()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
	}
}
