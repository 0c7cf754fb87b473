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

// shrinker makes a sample small while the servers differ in it.
type shrinker struct {
	binary string
	kind   string // of difference: another one does not count
	say    func(format string, args ...any)
}

// atOnce is how many candidates are tried as services of one server.
const atOnce = 40

// shrink returns the small sample, and what both servers do with it. It is
// false if the difference is not seen again.
func (s *shrinker) shrink(start sample) (sample, played, bool) {
	best := start
	best.Talks = best.Talks[len(best.Talks)-1:]
	if !s.differ(best) {
		if best = start; !s.differ(best) {
			return best, played{}, false
		}
	}
	for {
		before := best
		best = reduce(s, best, talkCuts)
		best = reduce(s, best, settingCuts)
		best = reduce(s, best, itemCuts)
		best.Files = used(best)
		best = reduce(s, best, turnCuts)
		best = reduce(s, best, stepCuts)
		best = reduce(s, best, fileCuts)
		if reflect.DeepEqual(before, best) {
			break
		}
	}
	best.Zone = halve(s, best.Zone, func(z []string) sample { c := best; c.Zone = z; return c })
	best.Main = halve(s, best.Main, func(m []setting) sample { c := best; c.Main = m; return c })
	best.Files = used(best)
	p, _ := s.play([]sample{best})
	return best, p[0], true
}

func (s *shrinker) differ(c sample) bool { return s.try([]sample{c})[0] }

// try says of each candidate whether the difference stays. All have the main.cf
// and the zone of the first.
func (s *shrinker) try(candidates []sample) []bool {
	var out []bool
	for group := range slices.Chunk(candidates, atOnce) {
		all, err := s.play(group)
		if err != nil {
			s.say("shrinking: %v", err)
			out = append(out, make([]bool, len(group))...)
			continue
		}
		for _, p := range all {
			want, got := lines(p.postfix, memory{}), lines(p.sekisho, memory{})
			out = append(out, differenceKind(want, got) == s.kind)
		}
	}
	return out
}

// play returns what the servers make of each candidate's last dialogue.
func (s *shrinker) play(group []sample) ([]played, error) {
	w := &world{Main: group[0].Main, Zone: group[0].Zone, Files: group[0].Files}
	talks := map[int][]talk{}
	for n, c := range group {
		w.Services = append(w.Services, service{Settings: c.Settings, Files: c.Files})
		talks[n] = c.Talks
	}
	p, err := start(w, s.binary)
	if err != nil {
		return nil, err
	}
	defer p.close()
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

// reduce tries every cut, and then all those together that did no harm.
func reduce(s *shrinker, best sample, cuts func(sample) []func(sample) sample) sample {
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

// used leaves out the tables that nothing names.
func used(c sample) map[string]string {
	var text strings.Builder
	for _, p := range slices.Concat(c.Main, c.Settings) {
		text.WriteString(p.text() + " ")
	}
	out := map[string]string{}
	for name, content := range c.Files {
		if regexp.MustCompile(`/`+tableDir+`/`+name+`\b`).MatchString(text.String()) || strings.Contains(text.String(), name+":") {
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
