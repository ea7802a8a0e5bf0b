package encoder

import (
	"sync/atomic"
	"time"
)

// Stats is what the encoder has done since it was opened, for metrics.
type Stats struct {
	QueuedInteractive int // pictures waiting now
	QueuedBackground  int
	QueuedTexts       int // batches of prompts waiting now
	Decoding          int // pictures being decoded now
	ImageBatches      int64
	Images            int64 // pictures embedded
	ImageTime         time.Duration
	TextBatches       int64
	Texts             int64 // prompts embedded
	TextTime          time.Duration
	// BatchSizes counts image batches by size; the index is the size.
	BatchSizes [backgroundBatch + 1]int64
}

// statistics are the counters behind Stats.
type statistics struct {
	decoding                          [2]atomic.Int64 // by Priority
	images, imageTime, texts, batches atomic.Int64
	textTime                          atomic.Int64
	sizes                             [backgroundBatch + 1]atomic.Int64
}

func (s *statistics) ran(n int, d time.Duration) {
	s.images.Add(int64(n))
	s.imageTime.Add(int64(d))
	s.sizes[n].Add(1)
}

func (s *statistics) ranText(n int, d time.Duration) {
	s.texts.Add(int64(n))
	s.batches.Add(1)
	s.textTime.Add(int64(d))
}

// Stats returns the encoder's counters. They are read one after the other, not at one instant.
func (e *Encoder) Stats() Stats {
	r := e.runner
	s := Stats{
		QueuedInteractive: len(r.interactive),
		QueuedBackground:  len(r.background),
		QueuedTexts:       len(r.texts),
		Decoding:          int(r.stats.decoding[Interactive].Load() + r.stats.decoding[Background].Load()),
		Images:            r.stats.images.Load(),
		ImageTime:         time.Duration(r.stats.imageTime.Load()),
		TextBatches:       r.stats.batches.Load(),
		Texts:             r.stats.texts.Load(),
		TextTime:          time.Duration(r.stats.textTime.Load()),
	}
	for i := range s.BatchSizes {
		s.BatchSizes[i] = r.stats.sizes[i].Load()
		s.ImageBatches += s.BatchSizes[i]
	}
	return s
}
