package main

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// sample is a dialogue with all that it needs: what a difference was found in,
// and what is left of that.
type sample struct {
	Main     []setting
	Zone     []string
	Files    map[string]string
	Settings []setting
	Talks    []talk // those before the last one only make the server remember
}

// world is the world of a sample, and of others with the same main.cf and zone.
func (c sample) world(others ...sample) *world {
	w := &world{Main: c.Main, Zone: c.Zone, Files: c.Files}
	for _, c := range append([]sample{c}, others...) {
		w.Services = append(w.Services, service{Settings: c.Settings, Files: c.Files})
	}
	return w
}

// shrinker makes a sample small while the servers differ in it.
type shrinker struct {
	kind string // of difference: another one does not count
	say  func(format string, args ...any)
	// try says of each candidate whether the difference stays. All have the
	// main.cf and the zone of the first.
	try func(candidates []sample) []bool
}

// newShrinker returns a shrinker that tries both servers.
func newShrinker(binary, kind string, say func(format string, args ...any)) *shrinker {
	s := &shrinker{kind: kind, say: say}
	s.try = func(candidates []sample) []bool { return s.tryServers(binary, candidates) }
	return s
}

// atOnce is how many candidates are tried as services of one server.
const atOnce = 40

// shrink returns the small sample; false if the difference is not seen again.
func (s *shrinker) shrink(start sample) (sample, bool) {
	best := start
	best.Talks = best.Talks[len(best.Talks)-1:]
	if !s.differ(best) {
		if best = start; !s.differ(best) {
			return best, false
		}
	}
	return s.reduce(best), true
}

func (s *shrinker) reduce(best sample) sample {
	for {
		before := best
		for _, cuts := range []func(sample) []func(sample) sample{talkCuts, settingCuts, itemCuts} {
			best = s.cut(best, cuts)
		}
		best.Files = used(best)
		for _, cuts := range []func(sample) []func(sample) sample{turnCuts, stepCuts, fileCuts} {
			best = s.cut(best, cuts)
		}
		if reflect.DeepEqual(before, best) {
			break
		}
	}
	best.Zone = halve(s, best.Zone, func(z []string) sample { c := best; c.Zone = z; return c })
	best.Main = halve(s, best.Main, func(m []setting) sample { c := best; c.Main = m; return c })
	best.Files = used(best)
	return best
}

func (s *shrinker) differ(c sample) bool { return s.try([]sample{c})[0] }

func (s *shrinker) tryServers(binary string, candidates []sample) []bool {
	var out []bool
	for group := range slices.Chunk(candidates, atOnce) {
		all, err := playSamples(binary, group)
		if err != nil {
			s.say("shrinking: %v", err)
			out = append(out, make([]bool, len(group))...)
			continue
		}
		for _, p := range all {
			want, got := lines(p.postfix), lines(p.sekisho)
			out = append(out, differenceKind(want, got) == s.kind)
		}
	}
	return out
}

// playSamples returns what the servers make of each sample's last dialogue.
func playSamples(binary string, group []sample) ([]played, error) {
	p, err := start(group[0].world(group[1:]...), binary)
	if err != nil {
		return nil, err
	}
	defer p.close()
	talks := map[int][]talk{}
	for n, c := range group {
		talks[n] = c.Talks
	}
	got, err := p.play(talks)
	if err != nil {
		return nil, err
	}
	var out []played
	for n := range group {
		all := got[n]
		out = append(out, all[len(all)-1])
	}
	return out, nil
}

// cut tries every cut, and then all those together that did no harm.
func (s *shrinker) cut(best sample, cuts func(sample) []func(sample) sample) sample {
	for {
		all := cuts(best)
		var candidates []sample
		var tried []func(sample) sample
		for _, cut := range all {
			if c := cut(best); startableSample(c) {
				candidates, tried = append(candidates, c), append(tried, cut)
			}
		}
		if len(candidates) == 0 {
			return best
		}
		good := s.try(candidates)
		together, n := best, 0
		for i := len(tried) - 1; i >= 0; i-- { // from the end: what is before keeps its place
			if c := tried[i](together); good[i] && startableSample(c) {
				together, n = c, n+1
			}
		}
		switch first := slices.Index(good, true); {
		case first < 0:
			return best
		case n > 1 && s.differ(together):
			best = together
		default:
			best = candidates[first]
		}
	}
}

// startableSample says whether servers start with it.
func startableSample(c sample) bool {
	for _, p := range c.Settings {
		if p.Name == "smtpd_relay_restrictions" && !slices.ContainsFunc(p.Items, func(i string) bool { return slices.Contains(relayControl, i) }) {
			return false
		}
	}
	return len(c.Talks) > 0
}

func talkCuts(c sample) (cuts []func(sample) sample) {
	for i := range len(c.Talks) - 1 {
		cuts = append(cuts, func(c sample) sample { c.Talks = without(c.Talks, i); return c })
	}
	return cuts
}

func settingCuts(c sample) (cuts []func(sample) sample) {
	for i := range c.Settings {
		cuts = append(cuts, func(c sample) sample { c.Settings = without(c.Settings, i); return c })
	}
	return cuts
}

func itemCuts(c sample) (cuts []func(sample) sample) {
	for i, p := range c.Settings {
		for k := range p.Items {
			cuts = append(cuts, func(c sample) sample {
				c.Settings = slices.Clone(c.Settings)
				c.Settings[i].Items = without(c.Settings[i].Items, k)
				return c
			})
		}
	}
	return cuts
}

func turnCuts(c sample) (cuts []func(sample) sample) {
	last := len(c.Talks) - 1
	for i := range c.Talks[last] {
		if i == 0 { // the greeting
			continue
		}
		cuts = append(cuts, func(c sample) sample {
			c.Talks = slices.Clone(c.Talks)
			c.Talks[last] = without(c.Talks[last], i)
			return c
		})
	}
	return cuts
}

// stepCuts shorten groups of commands and contents.
func stepCuts(c sample) (cuts []func(sample) sample) {
	last := len(c.Talks) - 1
	for i, u := range c.Talks[last] {
		if len(u) <= 3 {
			continue
		}
		for k := range u {
			cuts = append(cuts, func(c sample) sample {
				c.Talks = slices.Clone(c.Talks)
				c.Talks[last] = slices.Clone(c.Talks[last])
				c.Talks[last][i] = without(c.Talks[last][i], k)
				return c
			})
		}
	}
	return cuts
}

func fileCuts(c sample) (cuts []func(sample) sample) {
	for _, name := range sorted(c.Files) {
		for i := range strings.Count(c.Files[name], "\n") {
			cuts = append(cuts, func(c sample) sample {
				all := slices.Collect(strings.Lines(c.Files[name]))
				c.Files = maps.Clone(c.Files)
				c.Files[name] = strings.Join(without(all, i), "")
				return c
			})
		}
	}
	return cuts
}

func without[E any](all []E, i int) []E { return slices.Delete(slices.Clone(all), i, i+1) }

// served are tables that a peer serves, see startPeers.
var served = regexp.MustCompile(`\b(?:tcp|socketmap):`)

// used leaves out the tables that nothing names.
func used(c sample) map[string]string {
	var text strings.Builder
	for _, p := range slices.Concat(c.Main, c.Settings) {
		text.WriteString(p.text() + " ")
	}
	out := map[string]string{}
	for name, content := range c.Files {
		if regexp.MustCompile(`/`+tableDir+`/`+name+`\b`).MatchString(text.String()) || served.MatchString(text.String()) && (name == "tcp" || name == "socketmap") {
			out[name] = content
		}
	}
	return out
}

// halve leaves out what main.cf or the zone can do without, for which the
// servers have to start anew each time.
func halve[E any](s *shrinker, all []E, with func([]E) sample) []E {
	for size := len(all); size > 0; size /= 2 {
		for i := 0; i < len(all); {
			less := slices.Concat(all[:i], all[min(i+size, len(all)):])
			if s.differ(with(less)) {
				all = less
				continue
			}
			i += size
		}
	}
	return all
}

var (
	inAngles   = regexp.MustCompile(`<[^>]*>+`)
	inBrackets = regexp.MustCompile(`\S*\[[0-9a-fA-F.:]+\]`)
	inQuotes   = regexp.MustCompile(`"[^"]*"`)
	digits     = regexp.MustCompile(`\d+`)
)

// differenceKind is the first difference without what may change while a sample
// shrinks; empty for none.
func differenceKind(want, got []string) string {
	want, got = heard(want), heard(got)
	at := 0
	for at < len(want) && at < len(got) && want[at] == got[at] {
		at++
	}
	if at == len(want) && at == len(got) {
		return ""
	}
	line := func(all []string) string {
		if at >= len(all) {
			return "the end"
		}
		l := inBrackets.ReplaceAllString(inAngles.ReplaceAllString(all[at], "<>"), "[]")
		l, _, _ = strings.Cut(inQuotes.ReplaceAllString(l, `""`), "; from=")
		if strings.HasPrefix(l, "disconnect from") {
			l = digits.ReplaceAllString(l, "N")
		}
		return l
	}
	return fmt.Sprintf("- %s\n+ %s", line(want), line(got))
}
