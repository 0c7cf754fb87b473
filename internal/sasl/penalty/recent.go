package penalty

import "container/list"

// recent is a map that keeps the entries written last.
type recent[K comparable, V any] struct {
	limit int
	byKey map[K]*list.Element
	order *list.List // of entry[K, V], the last written first
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	return &recent[K, V]{limit: limit, byKey: make(map[K]*list.Element), order: list.New()}
}

// get returns an entry, or the zero value.
func (r *recent[K, V]) get(k K) V {
	if e := r.byKey[k]; e != nil {
		return e.Value.(entry[K, V]).value
	}
	var none V
	return none
}

// put writes an entry; the one that was written longest ago makes room.
func (r *recent[K, V]) put(k K, v V) {
	if e := r.byKey[k]; e != nil {
		e.Value = entry[K, V]{k, v}
		r.order.MoveToFront(e)
		return
	}
	if len(r.byKey) >= r.limit {
		last := r.order.Back()
		delete(r.byKey, last.Value.(entry[K, V]).key)
		r.order.Remove(last)
	}
	r.byKey[k] = r.order.PushFront(entry[K, V]{k, v})
}
