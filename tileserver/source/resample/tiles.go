package resample

import (
	"context"
	"fmt"
	"image"
	"time"

	"github.com/paulmach/orb/maptile"
	"golang.org/x/sync/semaphore"

	"github.com/tilescout/tilescout"
	"github.com/tilescout/tilescout/cache"
	"github.com/tilescout/tilescout/internal/cores"
	"github.com/tilescout/tilescout/tileserver/source"
)

// Tiles keeps the last tiles that were drawn, and draws each once however many wait for it, few at the same time.
type Tiles struct {
	work *semaphore.Weighted
	kept *cache.Cache[maptile.Tile, drawn]
}

type drawn struct {
	pic   tilescout.Picture
	none  bool // nothing is there
	until time.Time
}

// Life is how long something made from pictures may be kept, and since when one of them has been stale.
type Life struct {
	MaxAge time.Duration // 0 where nobody said
	Stale  tilescout.Stale
}

// LifeOf is that of one picture.
func LifeOf(p tilescout.Picture) Life { return Life{p.MaxAge, p.Stale} }

// And is the life of what is made of both.
func (l Life) And(m Life) Life {
	if l.MaxAge == 0 || m.MaxAge > 0 && m.MaxAge < l.MaxAge {
		l.MaxAge = m.MaxAge
	}
	l.Stale = l.Stale.Older(m.Stale)
	return l
}

// NewTiles returns an empty cache of at most so many bytes.
func NewTiles(bytes int64) *Tiles {
	return &Tiles{
		work: semaphore.NewWeighted(int64(2 * cores.N())),
		kept: cache.New(bytes, func(_ maptile.Tile, d drawn) int { return d.pic.Size() }),
	}
}

// Get returns the picture of t, by draw if it is not held. draw returns nil where nothing is there, which is
// ErrNotFound, and how long its result may be kept.
func (c *Tiles) Get(ctx context.Context, t maptile.Tile, draw func(context.Context) (*image.NRGBA, Life, error)) (tilescout.Picture, error) {
	if d, ok := c.kept.Peek(t); ok && time.Now().After(d.until) {
		c.kept.Remove(t)
	}
	d, err := c.kept.Get(ctx, t, func(ctx context.Context) (drawn, error) {
		if err := c.work.Acquire(ctx, 1); err != nil {
			return drawn{}, err
		}
		defer c.work.Release(1)
		img, life, err := draw(ctx)
		if err != nil {
			return drawn{}, err
		}
		none := drawn{none: true, until: time.Now().Add(Lifetime(life.MaxAge))}
		if img == nil {
			return none, nil
		}
		data, mediaType, err := Encode(img)
		if err != nil || data == nil {
			return none, err
		}
		return drawn{
			pic:   tilescout.Picture{Data: data, MediaType: mediaType, ETag: source.ETag(data), MaxAge: life.MaxAge, Stale: life.Stale},
			until: none.until,
		}, nil
	})
	if err == nil && d.none {
		err = fmt.Errorf("the upstream has nothing there: %w", tilescout.ErrNotFound)
	}
	return d.pic, err
}

// Lifetime is how long something made from pictures may be kept in memory, given the shortest time that they allow; 0
// means that nothing was said.
func Lifetime(allowed time.Duration) time.Duration {
	const most, least = 10 * time.Minute, 5 * time.Second
	if allowed == 0 {
		return most
	}
	return min(max(allowed, least), most)
}
