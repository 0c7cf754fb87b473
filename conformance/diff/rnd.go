package main

import "math/rand"

// rnd makes choices.
type rnd struct{ *rand.Rand }

func (r rnd) oneOf(words ...string) string { return words[r.Intn(len(words))] }

// in says yes once in n times.
func (r rnd) in(n int) bool { return r.Intn(n) == 0 }

// some picks about one in n.
func (r rnd) some(n int, words []string) []string {
	var out []string
	for _, w := range words {
		if r.in(n) {
			out = append(out, w)
		}
	}
	return out
}

// most leaves about one in n out.
func (r rnd) most(n int, words []string) []string {
	var out []string
	for _, w := range words {
		if !r.in(n) {
			out = append(out, w)
		}
	}
	return out
}
