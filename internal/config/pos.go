package config

import "strconv"

// Pos is a place in a configuration file. The zero Pos is a default value.
type Pos struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// String returns "file:line", or "default" for the zero Pos; just the file when
// the place is the whole of it.
func (p Pos) String() string {
	switch {
	case p.File == "":
		return "default"
	case p.Line == 0:
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Error is what is wrong at a place of a configuration file.
type Error struct {
	Pos  Pos
	Text string
}

// Error returns "FILE:LINE: TEXT".
func (e *Error) Error() string { return e.Pos.String() + ": " + e.Text }

// Warning is something odd that Postfix accepts.
type Warning struct {
	Pos  Pos
	Text string
}

// String returns "FILE:LINE: TEXT".
func (w Warning) String() string { return w.Pos.String() + ": " + w.Text }
