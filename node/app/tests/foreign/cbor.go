// As much of CBOR (RFC 8949) as evidence of audits has: unsigned numbers, byte strings, arrays, null.
package main

func decodeCbor(bytes []byte) interface{} {
	item, rest := decodeItem(bytes, 0)
	if len(rest) != 0 {
		refuse("%d bytes follow the evidence", len(rest))
	}
	return item
}

func decodeItem(bytes []byte, depth int) (interface{}, []byte) {
	if len(bytes) == 0 || depth > 8 {
		refuse("the evidence is cut off, or too deep")
	}
	first, rest := bytes[0], bytes[1:]
	if first == 0xf6 {
		return nil, rest
	}
	number, rest := argument(first&0x1f, rest)
	switch first >> 5 {
	case 0:
		return number, rest
	case 2:
		if uint64(len(rest)) < number {
			refuse("a byte string is cut off")
		}
		return rest[:number], rest[number:]
	case 4:
		var items []interface{}
		for ; number > 0; number-- {
			var item interface{}
			item, rest = decodeItem(rest, depth+1)
			items = append(items, item)
		}
		return items, rest
	}
	refuse("the evidence has an item of major type %d", first>>5)
	return nil, nil
}

// argument reads the number behind an item's first byte.
func argument(low byte, bytes []byte) (uint64, []byte) {
	if low < 24 {
		return uint64(low), bytes
	}
	length := 1 << (low - 24)
	if low > 27 || len(bytes) < length {
		refuse("a number is cut off, or of a form that evidence does not have")
	}
	number := uint64(0)
	for _, next := range bytes[:length] {
		number = number<<8 | uint64(next)
	}
	return number, bytes[length:]
}

// list reads an array of so many items, or of any number when count is negative.
func list(item interface{}, count int) []interface{} {
	items, ok := item.([]interface{})
	if !ok || count >= 0 && len(items) != count {
		refuse("the evidence has not the shape of evidence")
	}
	return items
}

func integer(item interface{}) int64 {
	number, ok := item.(uint64)
	if !ok || number > 1<<62 {
		refuse("the evidence has something else where a number belongs")
	}
	return int64(number)
}
