package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// row is one figure of both servers. Disk figures stand alone.
type row struct {
	Measure  string             `json:"measure"` // accept, sink, refuse, idle, disk ...
	Sessions int                `json:"sessions"`
	Figure   string             `json:"figure"` // what is counted, with its unit
	Median   map[string]float64 `json:"median"` // by "sekisho", "postfix", "disk"
	// Ratio is sekisho's median by postfix's, 0 when one is missing.
	Ratio   float64              `json:"ratio,omitempty"`
	Goal    string               `json:"goal,omitempty"` // of the ratio ("x") or of our value
	Reached bool                 `json:"reached,omitempty"`
	All     map[string][]float64 `json:"all"` // of every round
}

// results are the rows in the order in which they were first measured.
type results struct{ rows []*row }

func (r *results) add(measure string, sessions int, figure, subject string, value float64) {
	i := slices.IndexFunc(r.rows, func(w *row) bool {
		return w.Measure == measure && w.Sessions == sessions && w.Figure == figure
	})
	if i < 0 {
		i = len(r.rows)
		r.rows = append(r.rows, &row{Measure: measure, Sessions: sessions, Figure: figure,
			Median: map[string]float64{}, All: map[string][]float64{}})
	}
	w := r.rows[i]
	w.All[subject] = append(w.All[subject], value)
	w.Median[subject] = median(w.All[subject])
	if ours, theirs := w.Median["sekisho"], w.Median["postfix"]; ours > 0 && theirs > 0 {
		w.Ratio = ours / theirs
	}
	w.judge()
}

// median returns the middle of a list that is not empty.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

func (r *results) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r.rows)
}

func (r *results) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "measure\tsessions\tsekisho\tpostfix\tratio\tgoal\tfigure\t")
	for _, row := range r.rows {
		ours, theirs := cell(row.Median["sekisho"]), cell(row.Median["postfix"])
		if d, ok := row.Median["disk"]; ok {
			ours, theirs = cell(d), "(disk)"
		}
		ratio := "-"
		if row.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", row.Ratio)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t\n", row.Measure, row.Sessions, ours, theirs, ratio, row.verdict(), row.Figure)
	}
	return t.Flush()
}

// verdict prints the goal, and whether it is reached.
func (w *row) verdict() string {
	switch {
	case w.Goal == "":
		return "-"
	case w.Reached:
		return w.Goal + " yes"
	default:
		return w.Goal + " no"
	}
}

// cell prints a figure with three digits that count.
func cell(v float64) string {
	if v == 0 {
		return "-"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return strconv.FormatFloat(v, 'f', digits, 64)
}
