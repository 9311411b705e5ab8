package control

import "strings"

// The keys of the Clone that a serving process shares. Their values are JSON
// objects.
//
//	/deck/NAME/state         DeckState, at each change of anything but the position
//	/deck/NAME/position      DeckPosition, at most five times a second
//	/recorder/NAME/state     RecorderState, at each change and once a second
//	/reader/DECK/ID          ReaderState, once a second, ephemeral: it lives ReaderTTL
//	/status                  Status without Decks and Recorders, once a second
const (
	KeyDecks     = "/deck/"
	KeyRecorders = "/recorder/"
	KeyReaders   = "/reader/"
	KeyStatus    = "/status"
	KeyState     = "state"
	KeyPosition  = "position"
)

// ReaderTTL is how long the entry of a reader lives, seconds.
const ReaderTTL = 3

// DeckKey is the key of a deck's state or position.
func DeckKey(deck, what string) string { return KeyDecks + deck + "/" + what }

// RecorderKey is the key of a recorder's state.
func RecorderKey(recorder string) string { return KeyRecorders + recorder + "/" + KeyState }

// ReaderKey is the key of a deck's reader: its id or, where it has not said one, a
// dash and its address.
func ReaderKey(deck, id, address string) string {
	if id == "" {
		id = "-" + strings.ReplaceAll(address, "/", "-")
	}
	return KeyReaders + deck + "/" + id
}
