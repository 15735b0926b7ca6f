"""Other people's environments as games: PettingZoo's and Gymnasium's."""
