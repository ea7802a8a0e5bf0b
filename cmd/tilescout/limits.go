package main

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tilescout/tilescout/encoder"
	"github.com/tilescout/tilescout/geo/geotiff"
	"github.com/tilescout/tilescout/internal/budget"
	"github.com/tilescout/tilescout/plugin/search"
	"github.com/tilescout/tilescout/tileserver"
	"github.com/tilescout/tilescout/tileserver/config"
	"github.com/tilescout/tilescout/tileserver/source"
	"github.com/tilescout/tilescout/tileserver/source/kinds"
	"github.com/tilescout/tilescout/tileserver/source/pmtiles"
	"github.com/tilescout/tilescout/tileserver/source/remote"
	"github.com/tilescout/tilescout/tileserver/source/upstream"
)

// limitsOf turns the limits of the config into the settings of the packages that hold them. Whatever decodes takes its
// memory from one budget.
func limitsOf(l config.Limits) (*budget.Budget, kinds.Options) {
	memory := int64(l.MemoryMB) << 20
	if memory == 0 {
		memory = budget.Default(memoryLimit())
	}
	decoders := budget.New(memory)
	picture := source.Limits{MaxSide: l.Picture.Side, MaxBytes: l.Picture.MB << 20, MaxScans: l.Picture.Scans}
	var o kinds.Options
	o.XYZ.Limits, o.XYZ.TotalTimeout = picture, l.Upstream.Timeout
	o.XYZ.Documents = upstream.DocumentLimits{
		Bytes: l.Upstream.DocumentMB << 20, Depth: l.Upstream.DocumentDepth, Elements: l.Upstream.DocumentElements, Layers: l.Upstream.DocumentLayers,
	}
	o.MBTiles.Limits, o.MBTiles.Connections, o.MBTiles.Deadline = picture, l.Archive.Connections, l.Archive.Deadline
	o.MBTiles.OpenTime, o.MBTiles.ValueBytes, o.MBTiles.InflatedBytes = l.Archive.OpenTime, l.Archive.ValueMB<<20, l.Archive.InflatedMB<<20
	o.PMTiles.Limits, o.PMTiles.DirectoryBytes, o.PMTiles.TileBytes = picture, int64(l.Archive.DirectoryMB)<<20, l.Archive.TileMB<<20
	o.PMTiles.Directories = pmtiles.DirectoryLimits{
		Bytes: l.Archive.OneDirectoryMB << 20, Entries: l.Archive.DirectoryEntries, Depth: l.Archive.DirectoryDepth, Metadata: l.Archive.MetadataMB << 20,
	}
	o.Picture.MaxPixels, o.Picture.MaxBytes = int64(l.Picture.FilePixels), int64(l.Picture.FileMB)<<20
	o.GeoTIFF.Deadline = l.Raster.Deadline
	o.GeoTIFF.Files, o.GeoTIFF.OpenFiles, o.GeoTIFF.FilesPerTile = l.Raster.Files, l.Raster.OpenFiles, l.Raster.FilesPerTile
	o.GeoTIFF.File.Limits = geotiff.Limits{
		IFDs: l.Raster.IFDs, Tags: l.Raster.Tags, TagBytes: int64(l.Raster.TagMB) << 20, ValueBytes: int64(l.Raster.ValueKB) << 10,
		GeoKeys: l.Raster.GeoKeys, TextBytes: l.Raster.TextKB << 10, BlockSide: l.Raster.BlockSide, BlockBytes: int64(l.Raster.BlockMB) << 20,
		Samples: l.Raster.Samples, TableBytes: l.Raster.TableKB << 10, Scans: l.Raster.Scans, Window: int64(l.Raster.WindowMB) << 20,
		Render: int64(l.Raster.RenderMB) << 20,
	}
	o.GeoTIFF.File.Pool = geotiff.NewPool(int64(l.Raster.CacheMB)<<20, decoders)
	for _, m := range []**budget.Budget{&o.XYZ.Memory, &o.Picture.Memory, &o.MBTiles.Memory, &o.PMTiles.Memory} {
		*m = decoders
	}
	o.Blocks = remote.NewCache(int64(cmp.Or(l.Upstream.BlocksMB, 64)) << 20)
	return decoders, o
}

func requestLimits(l config.Limits) tileserver.RequestLimits {
	out := tileserver.RequestLimits{
		URLBytes: l.Requests.URLBytes, Parameters: l.Requests.Parameters, HeaderBytes: l.Requests.HeaderKB << 10,
		BodyBytes: int64(l.Requests.BodyMB) << 20, HeaderTimeout: l.Requests.HeaderTimeout, BodyTimeout: l.Requests.BodyTimeout,
		TileTimeout: l.Requests.TileTimeout, AnswerTimeout: l.Requests.AnswerTimeout,
		Rate: tileserver.Rate{PerSecond: l.Rate.PerSecond, Burst: l.Rate.Burst, Loopback: l.Rate.Loopback},
	}
	if l.Rate.Off {
		out.Rate.PerSecond = -1
	}
	return out
}

func admission(a config.Admission) *tileserver.Admission {
	return tileserver.NewAdmission(map[tileserver.Class]tileserver.Gate{
		tileserver.Render: tileserver.Gate(a.Render), tileserver.Fetch: tileserver.Gate(a.Fetch),
		tileserver.Text: tileserver.Gate(a.Text), tileserver.Embed: tileserver.Gate(a.Embed), tileserver.Scan: tileserver.Gate(a.Search),
	})
}

// textGate lets prompts to the encoder in class D. The words that the engine embeds at its start pass: nobody waits.
type textGate struct {
	search.Encoder
	admit atomic.Pointer[tileserver.Admission]
}

// Texts implements search.Encoder.
func (g *textGate) Texts(ctx context.Context, prompts []string) ([]encoder.Text, error) {
	if a := g.admit.Load(); a != nil {
		leave, err := a.Enter(ctx, tileserver.Text)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	return g.Encoder.Texts(ctx, prompts)
}

// memoryLimit is what the process may use in bytes, by GOMEMLIMIT or by its control group; 0 if nothing bounds it.
func memoryLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return n
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n > 0 && n < 1<<50 {
			return n
		}
	}
	return 0
}

// useMemoryLimit tells the collector how much there is: Go reads a group's share of processors by itself, not its
// memory. ONNX Runtime and mapped files live outside the collector's heap and get three tenths.
func useMemoryLimit(log *slog.Logger) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return // the operator said it
	}
	if limit := memoryLimit(); limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 7)
		log.Info("memory limit", "bytes", limit, "heap", limit/10*7)
	}
}
