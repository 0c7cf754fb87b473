package config

import (
	_ "embed"
	"strings"
)

//go:embed parameters.tsv
var parametersTSV string

// Type is how a parameter's value is read.
type Type string

const (
	TypeString Type = "string"
	TypeBool   Type = "bool"
	TypeInt    Type = "int"
	TypeTime   Type = "time"
)

// Parameter is one entry of the parameter table.
type Parameter struct {
	Name    string
	Type    Type
	Default string // as Postfix documents it, not expanded
	State   string // "same", "differs", "none": whether Sekisho heeds it; see docs/parameters.md
	Meaning string
}

// Parameters returns the parameter table, in order of name.
func Parameters() []Parameter {
	lines := strings.Split(strings.TrimRight(parametersTSV, "\n"), "\n")
	out := make([]Parameter, 0, len(lines))
	for _, l := range lines {
		f := strings.SplitN(l, "\t", 5)
		p := Parameter{Name: f[0], Type: Type(f[1]), Default: f[2]}
		if len(f) > 3 {
			p.State = f[3]
		}
		if len(f) > 4 {
			p.Meaning = f[4]
		}
		out = append(out, p)
	}
	return out
}

func parameterTable() map[string]Parameter {
	m := make(map[string]Parameter, 900)
	for _, p := range Parameters() {
		m[p.Name] = p
	}
	return m
}
