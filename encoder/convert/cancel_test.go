package convert_test

import (
	"context"
	"sync/atomic"
	"testing"
)

// counting is a context that ends when it has been asked so many times.
type counting struct {
	context.Context
	left atomic.Int64
}

func (c *counting) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

func contextThatEndsAfter(t *testing.T, asked int64) (context.Context, context.CancelFunc) {
	c := &counting{Context: t.Context()}
	c.left.Store(asked)
	return c, func() {}
}
