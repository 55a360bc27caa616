"""What any process of Readside needs, and no word of the domain: settings, logging, tokens, problem details."""
