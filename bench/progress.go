package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// progress shows on a terminal how far done has come, until the function it
// returns is called; that one leaves a line behind, on a file too.
func progress(what string, n int, done *atomic.Int64) (stop func()) {
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	began := time.Now()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if terminal {
					fmt.Fprintf(os.Stderr, "\r  %-36s %6d of %d", what, done.Load(), n)
				}
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		if terminal {
			fmt.Fprint(os.Stderr, "\r")
		}
		fmt.Fprintf(os.Stderr, "  %-36s %6d of %d in %.1f s\n", what, done.Load(), n, time.Since(began).Seconds())
	}
}
