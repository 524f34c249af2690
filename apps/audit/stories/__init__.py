"""Stories: one page that tells what happened in a session, to a stream, in a call or to a person."""
