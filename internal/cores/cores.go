// Package cores says how many processors there are for work that keeps one busy, and leaves the rest of the program a
// way past that work:
//
//	g.SetLimit(cores.N()) // and not runtime.GOMAXPROCS(0)
package cores

import "runtime"

// n is read before anything can change it: the processors that the system and the limits of a container give us.
var n = runtime.GOMAXPROCS(0)

// N is how many goroutines can compute at once with a processor for each.
func N() int { return n }

// Spare lets more goroutines run than there are processors, for a server; others need no such thing. Go hands a
// processor of its own to each of GOMAXPROCS goroutines, for 10 ms at a time, and looks at the network only when one
// has nothing to run. If work takes them all, a request that could be answered from memory, or refused at once, waits
// some rounds of 10 ms: 250 ms where it takes 1 otherwise. With half as many again, and one, there is always one for
// it, whatever work and the garbage collector, which takes a quarter, do; and the system, which does not wait 10 ms,
// shares out the processors that there are. It holds as long as work keeps to N.
func Spare() { runtime.GOMAXPROCS(n + n/2 + 1) }
