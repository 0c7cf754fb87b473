package config

import (
	_ "embed"
	"strconv"
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
	TypeRaw    Type = "raw" // a string whose $names are not those of parameters
)

// State tells what Sekisho makes of a parameter.
type State string

const (
	Same    State = "same"    // heeded as Postfix heeds it
	Differs State = "differs" // heeded, but not quite so; Parameter.Why tells
	Ours    State = "ours"    // Postfix has no such parameter
	None    State = "none"    // read and shown, without effect
)

// Parameter is one entry of the parameter table.
type Parameter struct {
	Name    string
	Type    Type
	Default string // as Postfix documents it, not expanded
	Range   string // "MIN..MAX", either may be missing; empty for no limits
	Unit    string // of a number
	Scope   string // the services that read it
	State   State
	Meaning string // in one line
	Why     string // it differs
}

// Parameters returns the parameter table, in order of name.
func Parameters() []Parameter {
	lines := strings.Split(strings.TrimRight(parametersTSV, "\n"), "\n")
	out := make([]Parameter, len(lines))
	for i, l := range lines {
		f := strings.Split(l, "\t")
		out[i] = Parameter{f[0], Type(f[1]), f[2], f[3], f[4], f[5], State(f[6]), f[7], f[8]}
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

// outside tells which limit of the parameter's range a value breaks: "< MIN"
// or "> MAX", or "" if none. Limits are in the unit of value.
func (p Parameter) outside(value int64, limit func(string) (int64, error)) string {
	lowest, highest, _ := strings.Cut(p.Range, "..")
	if n, err := limit(lowest); err == nil && value < n {
		return "< " + lowest
	}
	if n, err := limit(highest); err == nil && value > n {
		return "> " + highest
	}
	return ""
}

func number(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

func seconds(s string) (int64, error) {
	d, err := ParseTime(s, 's')
	return int64(d), err
}
