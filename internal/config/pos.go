package config

import "strconv"

// Pos is a place in a configuration file. The zero Pos is a default value.
type Pos struct {
	File string
	Line int
}

// String returns "file:line", or "default" for the zero Pos.
func (p Pos) String() string {
	if p.File == "" {
		return "default"
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}
