package main

import "fmt"

// goal is what a figure is to reach: a ratio to Postfix's, or a value.
type goal struct {
	measures []string // of these
	figure   string
	sessions int // and at least this many sessions
	limit    float64
	atMost   bool // or at least
	alone    bool // our value counts, not the ratio
}

// goals are what this server is built for.
var goals = []goal{
	{measures: accepting, figure: accepted, sessions: 50, limit: 10},
	{measures: accepting, figure: cpuPerMessage, limit: 0.1, atMost: true},
	{measures: []string{"refuse"}, figure: relayRefused, limit: 5},
	{measures: []string{"refuse"}, figure: blockRefused, limit: 5},
	{measures: []string{"refuse"}, figure: tableRefused, limit: 5},
	{measures: []string{"refuse"}, figure: unknownRefused, limit: 5},
	{measures: []string{"idle"}, figure: idleMemory, limit: 6, atMost: true, alone: true},
}

func (g goal) of(w *row) bool {
	for _, m := range g.measures {
		if m == w.Measure && g.figure == w.Figure && w.Sessions >= g.sessions {
			return true
		}
	}
	return false
}

// judge fills in a row's goal, and whether it is reached.
func (w *row) judge() {
	for _, g := range goals {
		if !g.of(w) {
			continue
		}
		value, unit := w.Ratio, "x"
		if g.alone {
			value, unit = w.Median["sekisho"], ""
		}
		sign, reached := ">=", value >= g.limit
		if g.atMost {
			sign, reached = "<=", value <= g.limit
		}
		w.Goal = fmt.Sprintf("%s %g%s", sign, g.limit, unit)
		w.Reached = value > 0 && reached
	}
}
